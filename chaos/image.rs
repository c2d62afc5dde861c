//! The one image that tests run: Debian's static busybox, loaded into the engine without a registry.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Error;
use crate::cluster::run;

/// Name of the image.
pub const IMAGE: &str = "barque-test/busybox:1";

/// Loads the image unless the engine has it.
///
/// # Errors
/// [`Error::Command`] without an engine, [`Error::System`] without Debian's `busybox-static`.
pub fn ensure_image() -> Result<(), Error> {
    if run(Command::new("docker").args(["image", "inspect", IMAGE]).stdout(Stdio::null())).is_ok() {
        return Ok(());
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).is_file());
    let busybox = busybox
        .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound))
        .map_err(Error::system("find busybox: apt-get install busybox-static"))?;
    let folder = tempfile::tempdir().map_err(Error::system("make a folder"))?;
    let bin = folder.path().join("bin");
    std::fs::create_dir_all(&bin).map_err(Error::system("make a folder"))?;
    std::fs::create_dir_all(folder.path().join("tmp")).map_err(Error::system("make a folder"))?;
    std::fs::copy(busybox, bin.join("busybox")).map_err(Error::system("copy busybox"))?;
    for applet in
        ["sh", "sleep", "cat", "echo", "ls", "env", "hostname", "wget", "httpd", "nc", "true", "false", "id", "mkdir"]
    {
        std::os::unix::fs::symlink("busybox", bin.join(applet)).map_err(Error::system("link an applet"))?;
    }
    let archive = folder.path().join("image.tar");
    run(Command::new("tar").arg("-C").arg(folder.path()).arg("-cf").arg(&archive).args(["bin", "tmp"]))?;
    run(Command::new("docker").args(["import", "--change", "CMD [\"/bin/sh\"]"]).arg(&archive).arg(IMAGE))?;
    Ok(())
}
