//! The device that students run on.

use candle_core::{Device, Result};

/// The GPU that this build supports, otherwise the CPU.
///
/// # Errors
/// A build for a GPU on a machine without a working one.
pub(crate) fn device() -> Result<Device> {
    if cfg!(feature = "cuda") {
        return cuda();
    }
    if cfg!(feature = "metal") {
        return Device::new_metal(0);
    }
    Ok(Device::Cpu)
}

/// The first CUDA device, with one stream for all threads. `Device::new_cuda` has one stream per
/// thread, and nothing stops a thread from computing with data that another is still uploading.
fn cuda() -> Result<Device> {
    let device = Device::new_cuda_with_stream(0)?;
    #[cfg(feature = "cuda")]
    // SAFETY: events order several streams, and this program uses one stream on the device.
    unsafe {
        device.as_cuda_device()?.disable_event_tracking();
    }
    Ok(device)
}
