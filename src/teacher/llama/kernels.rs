//! llama.cpp's CPU kernels as shared libraries, one for each kind of CPU (feature `cpu-variants`):
//! loads the best one for this CPU, and none that this build did not make.

use std::{
    env,
    ffi::{CString, c_int},
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::{hash, teacher::TeacherError};

/// File name and SHA-256 (hex) of every kernel library of this build.
const KERNELS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// The variable that names another folder of kernels, or the kernel to load.
const VARIABLE: &str = "PROMPTMIX_KERNELS";

/// Loads the kernels that suit this CPU best, once.
///
/// # Errors
/// As [`chosen`], or llama.cpp refuses them.
pub(super) fn load() -> Result<(), TeacherError> {
    static LOADED: Mutex<bool> = Mutex::new(false);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if *loaded {
        return Ok(());
    }
    let path = chosen()?;
    let name = c_string(&path)?;
    // SAFETY: the name is a string that ends in a zero; the file is one that this build made.
    if unsafe { llama_cpp_sys_2::ggml_backend_load(name.as_ptr()) }.is_null() {
        return Err(fault(&path, "is refused by llama.cpp"));
    }
    *loaded = true;
    Ok(())
}

/// The library of kernels, such as `libggml-cpu-haswell.so`, that llama.cpp scores highest on this
/// CPU.
///
/// # Errors
/// There is none that runs here, or one of them is not the file that this build made.
pub(super) fn chosen() -> Result<PathBuf, TeacherError> {
    let mut best: Option<(c_int, PathBuf)> = None;
    let files = named_or_installed()?;
    for path in &files {
        check(path)?;
        let score = score(path)?;
        // 0: this CPU lacks an instruction that these kernels need.
        if score > 0 && best.as_ref().is_none_or(|(highest, _)| score > *highest) {
            best = Some((score, path.clone()));
        }
    }
    let lacks = "needs instructions that this CPU lacks";
    best.map(|(_, path)| path).ok_or_else(|| match &*files {
        [only] => fault(only, lacks),
        _ => fault(&files[0], &format!("{lacks}, and so do all beside it")),
    })
}

/// The files that [`VARIABLE`] names, otherwise those installed with the program; at least one.
fn named_or_installed() -> Result<Vec<PathBuf>, TeacherError> {
    let named = env::var_os(VARIABLE).map(PathBuf::from);
    if let Some(file) = named.as_ref().filter(|path| path.is_file()) {
        return Ok(vec![file.clone()]);
    }
    let folder = match named {
        Some(folder) => folder,
        None => installed_folder().map_err(|error| TeacherError::Backend {
            message: format!("the folder of the program is not known: {error}"),
        })?,
    };
    let files: Vec<_> =
        (KERNELS.iter()).map(|(name, _)| folder.join(name)).filter(|path| path.is_file()).collect();
    if files.is_empty() {
        return Err(fault(&folder, "has no CPU kernels"));
    }
    Ok(files)
}

/// `lib/promptmix` beside the folder of the program.
fn installed_folder() -> io::Result<PathBuf> {
    let program = env::current_exe()?.canonicalize()?;
    let prefix = program.ancestors().nth(2).unwrap_or(Path::new("/"));
    Ok(prefix.join("lib/promptmix"))
}

/// Checks that `path` is, byte for byte, the kernel of that name that this build made.
fn check(path: &Path) -> Result<(), TeacherError> {
    let name = path.file_name().unwrap_or_default();
    let Some((_, expected)) = KERNELS.iter().find(|(kernel, _)| name == *kernel) else {
        return Err(fault(path, "is no kernel of this build"));
    };
    let found = hash::of_file(path).map_err(|error| fault(path, &error.to_string()))?;
    if found == *expected {
        Ok(())
    } else {
        Err(fault(path, "is not the file that came with this program"))
    }
}

/// How well the kernel at `path` suits this CPU, as it says itself; 0 = not at all.
fn score(path: &Path) -> Result<c_int, TeacherError> {
    let name = c_string(path)?;
    // SAFETY: the name ends in a zero, and the file is one that this build made. The handle is not
    // used after it is closed. `ggml_backend_score` has the type below in ggml-backend-impl.h.
    unsafe {
        let handle = libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        if handle.is_null() {
            return Err(fault(path, "cannot be loaded"));
        }
        let function = libc::dlsym(handle, c"ggml_backend_score".as_ptr());
        let score = if function.is_null() {
            0
        } else {
            std::mem::transmute::<*mut libc::c_void, unsafe extern "C" fn() -> c_int>(function)()
        };
        libc::dlclose(handle);
        Ok(score)
    }
}

fn c_string(path: &Path) -> Result<CString, TeacherError> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| fault(path, "has a zero byte in its name"))
}

fn fault(path: &Path, what: &str) -> TeacherError {
    TeacherError::Kernels { path: path.to_owned(), what: what.to_owned() }
}
