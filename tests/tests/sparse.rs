//! A setup function that reserves terabytes and uses little of them, as sanitizers,
//! garbage collectors and databases do: looking for memory to collapse into huge
//! pages must not walk through the void.

use std::io::Read;
use std::num::NonZero;
use std::time::Duration;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use offshoot::{Args, Process, Start};
use offshoot_tests::within;

offshoot::early!();

const RESERVED: usize = 32 << 40;

#[offshoot::setup]
#[allow(unsafe_code)]
fn reserve(_: Args) -> Result<(), String> {
    let size = NonZero::new(RESERVED).unwrap();
    let (read_write, flags) = (
        ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
        MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE,
    );
    // SAFETY: a new mapping where the kernel sees fit, never unmapped.
    let memory = unsafe { mmap_anonymous(None, size, read_write, flags) };
    let first = memory.map_err(|e| format!("mmap: {e}"))?.cast::<u8>();
    for page in (0..32 << 20).step_by(4096) {
        // SAFETY: within the mapping, which is writable.
        unsafe { first.add(page).write(1) };
    }
    Ok(())
}

#[offshoot::entry]
fn answer(_: Start) {}

#[test]
fn what_is_reserved_but_empty_costs_nothing() {
    within(Duration::from_secs(20), || {
        let template = Process::new().unwrap().setup(reserve, [""]);
        let child = template.fork().unwrap().run(answer).unwrap();
        assert_eq!(child.stream().read(&mut [0]).unwrap(), 0);
        assert!(child.wait().unwrap().success());
    });
}
