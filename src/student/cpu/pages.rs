//! Memory for long buffers.
//!
//! The first access to a page causes a page fault, two if it is a read, and a product over a large
//! matrix touches more pages than the TLB holds. So long buffers request huge pages (2 MiB instead
//! of 4 KiB) on Linux, and are written once at the start.

/// Size in bytes from which a buffer requests huge pages: two of them.
#[cfg(target_os = "linux")]
const LONG: usize = 4 << 20;

/// `len` zeros.
pub(super) fn zeros(len: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    ask_for_huge_pages(&mut values);
    values.resize(len, 0.0);
    values
}

#[cfg(target_os = "linux")]
fn ask_for_huge_pages(values: &mut Vec<f32>) {
    let bytes = values.capacity() * size_of::<f32>();
    if bytes < LONG {
        return;
    }
    // SAFETY: sysconf has no effect.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let page = usize::try_from(page).unwrap_or(LONG);
    let start = values.as_mut_ptr() as usize;
    let (from, to) = (start.next_multiple_of(page), (start + bytes) / page * page);
    if from < to {
        // SAFETY: the pages lie within the buffer, and the advice does not change their contents.
        // If it is refused, only time is lost.
        unsafe { libc::madvise(from as *mut libc::c_void, to - from, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn ask_for_huge_pages(_: &mut Vec<f32>) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_buffers_are_zero() {
        for len in [0, 3, (5 << 20) + 1] {
            let values = zeros(len);
            assert_eq!(values.len(), len);
            assert!(values.iter().all(|&value| value == 0.0));
        }
    }
}
