//! Drives the real program with the real pocket models in temporary folders.

#[cfg(all(target_os = "linux", feature = "remote"))]
mod addresses;
#[cfg(target_os = "linux")]
mod airgap;
#[cfg(unix)]
mod attacks;
mod audit;
mod bank;
#[cfg(unix)]
mod browser;
mod bundle;
mod checkpoints;
mod compare;
mod confidence;
#[cfg(target_os = "linux")]
mod crash;
mod daily;
mod demo;
mod docs;
mod drift;
mod edits;
mod evaluate;
mod export;
mod faults;
mod grow;
mod grown;
mod hostile;
mod house;
#[cfg(feature = "pull")]
mod hub;
mod imported;
#[cfg(target_os = "linux")]
mod interrupt;
mod junk;
mod labels;
mod lengths;
mod library;
mod library_pins;
mod none_of_these;
mod predict;
#[cfg(unix)]
mod private;
mod refine;
mod replay;
mod resume;
#[cfg(unix)]
mod review;
mod scoring;
#[cfg(unix)]
mod serve;
mod shards;
mod snapshots;
mod support;
mod unlabelled;
#[cfg(target_os = "linux")]
mod worker;
