//! Drives the real program with the real pocket models in temporary folders.

mod audit;
#[cfg(unix)]
mod browser;
mod compare;
mod demo;
mod export;
mod faults;
mod imported;
mod predict;
mod replay;
mod resume;
mod support;
#[cfg(target_os = "linux")]
mod worker;
