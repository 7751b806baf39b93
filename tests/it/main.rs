//! Drives the real program with the real pocket models in temporary folders.

#[cfg(unix)]
mod browser;
mod bundle;
mod compare;
mod demo;
mod export;
mod faults;
mod hostile;
mod imported;
mod predict;
mod replay;
mod resume;
mod support;
#[cfg(target_os = "linux")]
mod worker;
