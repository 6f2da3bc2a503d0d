//! The machine, against what a run and queries may use.

use std::num::NonZeroUsize;

use whocalled_types::Limits;

use super::Area::Machine as AREA;
use super::Line;
use crate::context::{Context, MEMORY_MIB, show_bytes};

/// All checks of the machine.
pub(super) fn check(context: &Context) -> Vec<Line> {
    vec![memory(context), cores(context)]
}

/// What a conversion holds, about: bytes in flight, and a batch's rows beside the files made of them.
fn conversion_bytes(limits: &Limits) -> u64 {
    limits.bytes_in_flight_max as u64 + 2 * limits.batch_bytes_max
}

fn memory(context: &Context) -> Line {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let (mut total, mut available) = (system.total_memory(), system.available_memory());
    // A container may have less than its machine.
    if let Some(limits) = system.cgroup_limits().filter(|it| it.total_memory > 0 && it.total_memory < total) {
        (total, available) = (limits.total_memory, available.min(limits.free_memory));
    }
    let queries = (context.settings.memory_mib.unwrap_or(MEMORY_MIB) as u64) << 20;
    let conversion = conversion_bytes(&Limits::STANDARD);
    let found = format!(
        "{} of {} available; a conversion takes about {}, queries up to {}",
        show_bytes(available),
        show_bytes(total),
        show_bytes(conversion),
        show_bytes(queries)
    );
    if available < conversion {
        Line::warn(AREA, "memory", found, "end other programs, or use a larger machine")
    } else if available < queries {
        let next = format!("set memory_mib to {}, so that queries spill to disk in time", (available * 3 / 4) >> 20);
        Line::warn(AREA, "memory", found, next)
    } else {
        Line::pass(AREA, "memory", found)
    }
}

fn cores(context: &Context) -> Line {
    let there = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let used = context.threads(None);
    let found = format!("{there}, of which {used} are used");
    if used > there {
        return Line::warn(AREA, "cores", found, format!("set threads to {there} or less"));
    }
    Line::pass(AREA, "cores", found)
}
