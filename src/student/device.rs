//! The device that students run on.

use candle_core::Device;

use super::Result;

/// The GPU that this build is for, the CPU otherwise.
///
/// # Errors
/// A build for a GPU, and none that works.
pub fn device() -> Result<Device> {
    if cfg!(feature = "cuda") {
        return cuda();
    }
    if cfg!(feature = "metal") {
        return Ok(Device::new_metal(0)?);
    }
    Ok(Device::Cpu)
}

/// The first CUDA device with one stream for all threads. The one of `Device::new_cuda` has a stream for
/// each thread, and nothing keeps a thread from computing with what another one is still uploading.
fn cuda() -> Result<Device> {
    let device = Device::new_cuda_with_stream(0)?;
    #[cfg(feature = "cuda")]
    // SAFETY: events order several streams, and this program uses no other stream on the device.
    unsafe {
        device.as_cuda_device()?.disable_event_tracking();
    }
    Ok(device)
}
