//! What a link, a kill, a pipe or another user could lead astray.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn no_link_is_followed_by_any_way_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let victim = folder.path().join("victim");
    let link = folder.path().join("link");
    let temporary = folder.path().join(format!("x.{}.part", std::process::id()));
    fs::write(&victim, "precious").unwrap();
    let hard = |from: &Path| fs::hard_link(&victim, from).unwrap();
    let soft = |from: &Path| symlink(&victim, from).unwrap();
    let plants: [&dyn Fn(&Path); 2] = [&hard, &soft];
    for plant in plants {
        plant(&link);
        let error = open_for_update(&link).unwrap_err().to_string();
        assert!(error.contains("link"), "{error}");
        assert!(create_new(&link).is_err());
        create_anew(&link).unwrap().write_all(b"new").unwrap();
        fs::remove_file(&link).unwrap();
        plant(&link);
        write_atomic(&link, b"new").unwrap();
        fs::remove_file(&link).unwrap();
        plant(&temporary);
        write_atomic(&folder.path().join("x.json"), b"new").unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }
    symlink(folder.path().join("missing"), &link).unwrap();
    assert!(open_for_update(&link).is_err() && !folder.path().join("missing").exists());
}

#[test]
fn what_has_no_end_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let name = std::ffi::CString::new(pipe.to_str().unwrap()).unwrap();
    // SAFETY: `name` ends with a zero and outlives the call.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let refused = |path: &Path| open_regular(path).unwrap_err().to_string();
    assert_eq!(refused(&pipe), "it is a named pipe, not a file");
    assert_eq!(refused(folder.path()), "it is a folder, not a file");
    assert_eq!(refused(Path::new("/dev/zero")), "it is a device, not a file");
    let missing = open_regular(&folder.path().join("missing")).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    assert!(open_for_update(&pipe).is_err());
    let file = folder.path().join("file");
    fs::write(&file, "four").unwrap();
    assert_eq!(read_regular(&file, 4).unwrap(), "four");
    assert!(read_regular(&file, 3).unwrap_err().to_string().contains("more than 3 bytes"));
}

#[test]
fn a_folder_that_others_may_write_to_or_with_a_link_is_unsafe() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    assert_eq!(unsafe_to_write(&run), None, "it is about to be created");
    fs::create_dir_all(run.join("below")).unwrap();
    assert_eq!(unsafe_to_write(&run), None);
    fs::set_permissions(&run, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(unsafe_to_write(&run).unwrap().contains("mode 777"));
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).unwrap();
    // What is read from it is as good as the folder itself.
    fs::write(run.join("below/file"), "").unwrap();
    for (name, mode) in [("below", 0o757), ("below/file", 0o606)] {
        let before = fs::metadata(run.join(name)).unwrap().permissions();
        fs::set_permissions(run.join(name), fs::Permissions::from_mode(mode)).unwrap();
        let wanted = format!("every user may write to {name} in it (mode {mode:o})");
        assert_eq!(unsafe_to_write(&run), Some(wanted));
        fs::set_permissions(run.join(name), before).unwrap();
    }
    assert_eq!(unsafe_to_write(&run), None);
    symlink(folder.path(), run.join("below/student")).unwrap();
    assert!(unsafe_to_write(&run).unwrap().starts_with("below/student in it is a symbolic"));
    fs::remove_file(run.join("below/student")).unwrap();
    let pipe = run.join("below/train.jsonl");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(unsafe_to_write(&run).unwrap(), "below/train.jsonl in it is a named pipe");
    assert!(read(&pipe).unwrap_err().to_string().contains("it is a named pipe, not a file"));
}

#[test]
fn a_folder_is_replaced_whole_in_one_step_or_in_two() {
    type Exchange = fn(&Path, &Path) -> io::Result<PathBuf>;
    for exchange in [exchange as Exchange, exchange_in_two_steps] {
        let folder = tempfile::tempdir().unwrap();
        let (path, new) = (folder.path().join("student"), folder.path().join("n"));
        for (path, text) in [(&path, "old"), (&new, "new")] {
            fs::create_dir(path).unwrap();
            fs::write(path.join("x"), text).unwrap();
        }
        let old = exchange(&new, &path).unwrap();
        assert_eq!(fs::read_to_string(path.join("x")).unwrap(), "new");
        assert_eq!(fs::read_to_string(old.join("x")).unwrap(), "old");
    }
}

#[test]
fn a_failed_second_step_puts_the_old_folder_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("student");
    fs::create_dir(&path).unwrap();
    assert!(exchange_in_two_steps(&folder.path().join("missing"), &path).is_err());
    assert_eq!(names(folder.path()), ["student"]);
}

#[test]
fn a_kill_between_two_renames_loses_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str, text: &str| {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("x"), text).unwrap();
    };
    let text = || fs::read_to_string(folder.path().join("student/x")).unwrap();
    make(".student.old-7", "old");
    make(".student.new-7", "new");
    make(".other.old-x", "not ours");
    repair_dirs(folder.path());
    assert_eq!((text().as_str(), names(folder.path()).len()), ("old", 2));
    // The old folder was not deleted yet.
    make(".student.old-7", "older");
    repair_dirs(folder.path());
    assert_eq!((text().as_str(), names(folder.path()).len()), ("old", 2));
}

#[test]
fn a_text_that_is_not_utf_8_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.txt");
    fs::write(&path, b"one\ntw\xff\n").unwrap();
    let error = read_regular(&path, 100).unwrap_err();
    assert_eq!(error.to_string(), "not UTF-8: byte 0xff at offset 6, line 2");
}
