//! How much memory this process may have.

use std::fs;
use std::path::Path;

/// Bytes of memory and swap space that this machine has, or that the process's control groups allow, whichever is less;
/// where Linux says so.
pub(crate) fn host_memory() -> Option<u64> {
    under(Path::new("/"))
}

/// The same of the system whose files lie under `root`.
fn under(root: &Path) -> Option<u64> {
    let info = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let bytes = |name: &str| {
        let kib =
            info.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        Some(1024 * kib?)
    };
    let (memory, swap) = (bytes("MemTotal:")?, bytes("SwapTotal:").unwrap_or(0));
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let allowed = groups.lines().filter_map(|group| allowed(root, group, swap)).min();
    Some(allowed.map_or(memory + swap, |allowed| allowed.min(memory + swap)))
}

/// What a control group and those it is in allow; `group` is a line `number:controllers:/path`.
///
/// In version 2 of control groups a limit of memory has one of swap space beside it, in version 1 it may have one of both
/// together. A container may see its group under a path that is not there, but then sees it as the outermost as well.
fn allowed(root: &Path, group: &str, swap: u64) -> Option<u64> {
    let [_, controllers, path] = group.splitn(3, ':').collect::<Vec<_>>().try_into().ok()?;
    let mounted = root.join("sys/fs/cgroup");
    let number = |folder: &Path, file: &str| fs::read_to_string(folder.join(file)).ok()?.trim().parse::<u64>().ok();
    let of_version_2 = |folder: &Path| {
        let swap = number(folder, "memory.swap.max").map_or(swap, |most| most.min(swap));
        Some(number(folder, "memory.max")? + swap)
    };
    let of_version_1 = |folder: &Path| {
        let both = number(folder, "memory.memsw.limit_in_bytes");
        let memory = number(folder, "memory.limit_in_bytes").map(|memory| memory.saturating_add(swap));
        both.into_iter().chain(memory).min()
    };
    let inside = path.trim_start_matches('/');
    let outwards = |mounted: &Path, limit: &dyn Fn(&Path) -> Option<u64>| {
        let groups = Path::new(inside).ancestors().map(|group| mounted.join(group));
        groups.filter_map(|folder| limit(&folder)).min()
    };
    match controllers {
        "" => outwards(&mounted, &of_version_2),
        _ if controllers.split(',').any(|controller| controller == "memory") => {
            outwards(&mounted.join("memory"), &of_version_1)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A system with 1,000 KiB of memory and 100 of swap space, and these files.
    fn system(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        let meminfo = ("proc/meminfo", "MemTotal:   1000 kB\nMemFree: 3 kB\nSwapTotal:   100 kB\n");
        for (path, text) in [meminfo].iter().chain(files) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        under(root.path())
    }

    #[test]
    fn the_machine_or_its_control_group_says_how_much_there_is() {
        let kib = |number: u64| Some(1024 * number);
        assert_eq!(system(&[]), kib(1100));
        let group = ("proc/self/cgroup", "0::/jobs/mine\n");
        let most = "sys/fs/cgroup/jobs/mine/memory.max";
        assert_eq!(system(&[group, (most, "max\n")]), kib(1100));
        assert_eq!(system(&[group, (most, "204800\n")]), kib(300));
        let no_swap = ("sys/fs/cgroup/jobs/mine/memory.swap.max", "0\n");
        assert_eq!(system(&[group, (most, "204800\n"), no_swap]), kib(200));
        assert_eq!(system(&[group, (most, "204800\n"), ("sys/fs/cgroup/jobs/memory.max", "102400\n")]), kib(200));
        assert_eq!(
            system(&[("proc/self/cgroup", "0::/elsewhere\n"), ("sys/fs/cgroup/memory.max", "204800\n")]),
            kib(300)
        );
    }

    #[test]
    fn an_older_control_group_says_it_elsewhere() {
        let group = ("proc/self/cgroup", "5:cpu:/mine\n4:memory,hugetlb:/mine\n");
        let [memory, both] =
            ["limit_in_bytes", "memsw.limit_in_bytes"].map(|file| format!("sys/fs/cgroup/memory/mine/memory.{file}"));
        assert_eq!(system(&[group, (&memory, "9223372036854771712\n")]), Some(1024 * 1100));
        assert_eq!(system(&[group, (&memory, "204800\n")]), Some(1024 * 300));
        assert_eq!(system(&[group, (&memory, "204800\n"), (&both, "204800\n")]), Some(1024 * 200));
    }
}
