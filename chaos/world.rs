//! A private world: network, mounts and processes of its own, which vanish with the program that made them.
//!
//! The program starts itself anew under `unshare`. Whatever it then makes (bridges, namespaces, mounts, masters) can be
//! seen and reached by nobody else, and the kernel removes all of it when the program ends, also when it is killed.

use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::Error;
use crate::cluster::run;

/// Says that this process is inside already.
const INSIDE: &str = "BARQUE_CHAOS_WORLD";
/// Where `ip` keeps the names of network namespaces.
const NAMES: &str = "/run/netns";
/// The network of all hosts; the program itself has the first address.
const NETWORK: [u8; 3] = [10, 77, 0];
/// The last byte of the first host's address.
const FIRST: u8 = 11;

/// Makes sure that this process lives in a world of its own: returns inside, or ends with an error.
///
/// # Errors
/// [`Error::System`] when `unshare` cannot be run; it needs root.
pub fn enter() -> Result<(), Error> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(());
    }
    let program = std::env::current_exe().map_err(Error::system("find this program"))?;
    // `exec`, so that whoever ends this process ends `unshare`, which takes everything inside with it.
    let refused = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    Err(Error::System { action: "run unshare (of util-linux, as root)".into(), source: refused })
}

/// Hosts on one bridge. This program is on the bridge too and reaches all of them, whatever is cut between them.
#[derive(Debug)]
pub struct World {
    hosts: Vec<String>,
}

impl World {
    /// Makes the bridge and a network namespace for each host. To be called once, after [`enter`].
    ///
    /// # Errors
    /// [`Error::Command`] when `ip` or `nft` refuse.
    pub fn make(hosts: usize) -> Result<Self, Error> {
        // Names are files; with a file system of their own they vanish too.
        std::fs::create_dir_all(NAMES).map_err(Error::system(format!("make {NAMES}")))?;
        run(Command::new("mount").args(["-t", "tmpfs", "names", NAMES]))?;
        ip("link set lo up")?;
        ip("link add hosts type bridge forward_delay 0")?;
        ip(&format!("addr add {}/24 dev hosts", address_of(1)))?;
        ip("link set hosts up")?;
        let names: Vec<String> = (1..=hosts).map(|number| format!("host-{number}")).collect();
        for (position, name) in names.iter().enumerate() {
            let (near, address) = (format!("veth-{}", position + 1), Self::address(position));
            ip(&format!("netns add {name}"))?;
            ip(&format!("link add {near} type veth peer name eth0 netns {name}"))?;
            ip(&format!("link set {near} master hosts up"))?;
            ip(&format!("-n {name} link set lo up"))?;
            ip(&format!("-n {name} addr add {address}/24 dev eth0"))?;
            ip(&format!("-n {name} link set eth0 up"))?;
            let rules = "add table inet cut; add chain inet cut in { type filter hook input priority 0; }";
            run(inside(name, "nft").arg(rules))?;
        }
        Ok(Self { hosts: names })
    }

    /// Address of the host at this position, counted from 0.
    pub fn address(host: usize) -> Ipv4Addr {
        address_of(FIRST.saturating_add(u8::try_from(host).unwrap_or(u8::MAX)))
    }

    /// A command that runs on a host.
    pub fn command(&self, host: usize, program: impl AsRef<std::ffi::OsStr>) -> Command {
        inside(&self.hosts[host], program)
    }

    /// From now on nothing that `from` sends arrives at `to`; nobody is told.
    ///
    /// # Errors
    /// [`Error::Command`] when `nft` refuses.
    pub fn cut(&self, from: usize, to: usize) -> Result<(), Error> {
        let rule = format!("add rule inet cut in ip saddr {} drop", Self::address(from));
        run(self.command(to, "nft").arg(rule)).map(|_| ())
    }

    /// Cuts both ways.
    ///
    /// # Errors
    /// [`Error::Command`] when `nft` refuses.
    pub fn part(&self, one: usize, other: usize) -> Result<(), Error> {
        self.cut(one, other)?;
        self.cut(other, one)
    }

    /// Ends all cuts.
    ///
    /// # Errors
    /// [`Error::Command`] when `nft` refuses.
    pub fn heal(&self) -> Result<(), Error> {
        for host in 0..self.hosts.len() {
            run(self.command(host, "nft").arg("flush chain inet cut in"))?;
        }
        Ok(())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The kernel would do it at the end of the program; a second world in one program needs the names now.
        for name in &self.hosts {
            let _ = ip(&format!("netns del {name}"));
        }
        let _ = ip("link del hosts");
        let _ = run(Command::new("umount").arg(NAMES));
    }
}

/// `nsenter`, not `ip netns exec`: that one hides the cgroup mounts.
fn inside(name: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={NAMES}/{name}")).arg("--").arg(program);
    command
}

fn ip(arguments: &str) -> Result<(), Error> {
    run(Command::new("ip").args(arguments.split(' '))).map(|_| ())
}

fn address_of(last: u8) -> Ipv4Addr {
    let [a, b, c] = NETWORK;
    Ipv4Addr::new(a, b, c, last)
}
