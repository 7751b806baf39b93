//! For the feature `cpu-variants`: writes down the name and SHA-256 of every kernel library that was
//! built, so that the program loads no other (`src/teacher/llama/kernels.rs`).

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "cpu-variants")]
    kernels::write_table();
}

#[cfg(feature = "cpu-variants")]
mod kernels {
    use std::{env, fs, path::PathBuf};

    use sha2::{Digest, Sha256};

    pub(super) fn write_table() {
        let folder = PathBuf::from(variable("DEP_LLAMA_BACKENDS_DIR"));
        println!("cargo:rerun-if-changed={}", folder.display());
        let mut kernels: Vec<(String, String)> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| {
                let entry = entry.expect("a folder that this build made is readable");
                let bytes =
                    fs::read(entry.path()).expect("a file that this build made is readable");
                let name = entry.file_name().into_string().expect("names of kernels are ASCII");
                (name, format!("{:x}", Sha256::digest(bytes)))
            })
            .collect();
        kernels.sort();
        assert!(!kernels.is_empty(), "llama.cpp built no kernels in {}", folder.display());
        let table = PathBuf::from(variable("OUT_DIR")).join("kernels.rs");
        fs::write(table, format!("{kernels:?}").replacen('[', "&[", 1))
            .expect("the build's own folder can be written");
        // The libraries of llama.cpp that the program links. The old tag, DT_RPATH, also holds for what
        // these libraries link in turn.
        println!(
            "cargo:rustc-link-arg-bins=-Wl,-rpath,$ORIGIN/../lib/promptmix,--disable-new-dtags"
        );
    }

    fn variable(name: &str) -> String {
        env::var(name).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}
