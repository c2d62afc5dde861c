//! The images that tests run, made of Debian's packages and loaded into the engine without a registry.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Error;
use crate::cluster::{clients_folder, run};

/// A static busybox: a shell and the small programs that tests run.
pub const IMAGE: &str = "barque-test/busybox:1";

/// Debian's nginx: serves `/var/www/html` on port 80 and logs to its standard output.
pub const NGINX_IMAGE: &str = "barque-test/nginx:1";

/// Loads [`IMAGE`] unless the engine has it.
///
/// # Errors
/// [`Error::Command`] without an engine, [`Error::System`] without Debian's `busybox-static`.
pub fn ensure_image() -> Result<(), Error> {
    if is_loaded(IMAGE) {
        return Ok(());
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).is_file());
    let busybox = busybox
        .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound))
        .map_err(Error::system("find busybox: apt-get install busybox-static"))?;
    let folder = tempfile::tempdir().map_err(Error::system("make a folder"))?;
    let root = folder.path().join("root");
    let bin = root.join("bin");
    make_folders(&root, &["bin", "tmp"])?;
    std::fs::copy(busybox, bin.join("busybox")).map_err(Error::system("copy busybox"))?;
    for applet in
        ["sh", "sleep", "cat", "echo", "ls", "env", "hostname", "wget", "httpd", "nc", "true", "false", "id", "mkdir"]
    {
        symlink("busybox", bin.join(applet)).map_err(Error::system("link an applet"))?;
    }
    load(&root, &[], &["CMD [\"/bin/sh\"]"], IMAGE)
}

/// Loads [`NGINX_IMAGE`] unless the engine has it: the packages that `tests/tools.sh images` has fetched, unpacked beside each
/// other, with one site.
///
/// # Errors
/// [`Error::System`] when the packages are not there, [`Error::Command`] without an engine.
pub fn ensure_nginx_image() -> Result<(), Error> {
    if is_loaded(NGINX_IMAGE) {
        return Ok(());
    }
    let packages = packages(&clients_folder().join("nginx"))?;
    let folder = tempfile::tempdir().map_err(Error::system("make a folder"))?;
    let root = folder.path().join("root");
    make_folders(&root, &["run", "tmp", "var/www/html", "var/log/nginx", "var/lib/nginx", "etc/nginx/sites-enabled"])?;
    for package in packages {
        run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&root))?;
    }
    merge_usr(&root)?;
    let write = |path: &str, text: &str| {
        std::fs::write(root.join(path), text).map_err(Error::system(format!("write the image's {path}")))
    };
    write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n")?;
    write("etc/group", "root:x:0:\nwww-data:x:33:\n")?;
    write("etc/nginx/sites-enabled/site", "server {\n    listen 80;\n    root /var/www/html;\n}\n")?;
    for (log, stream) in [("access.log", "/dev/stdout"), ("error.log", "/dev/stderr")] {
        symlink(stream, root.join("var/log/nginx").join(log)).map_err(Error::system("link a log"))?;
    }
    let changes = [r#"CMD ["/usr/sbin/nginx", "-g", "daemon off;"]"#, "EXPOSE 80"];
    load(&root, &["./usr/share", "gconv"], &changes, NGINX_IMAGE)
}

fn is_loaded(image: &str) -> bool {
    run(Command::new("docker").args(["image", "inspect", image]).stdout(Stdio::null())).is_ok()
}

fn make_folders(root: &Path, folders: &[&str]) -> Result<(), Error> {
    folders
        .iter()
        .try_for_each(|folder| std::fs::create_dir_all(root.join(folder)))
        .map_err(Error::system("make a folder"))
}

/// The packages of a folder, once all of them are there.
fn packages(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let missing = || Error::system(format!("read {}; `tests/tools.sh images` fetches it", folder.display()));
    let entries = std::fs::read_dir(folder).map_err(missing())?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>().map_err(missing())?;
    Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "deb")).collect())
}

/// Debian's packages expect `/lib` and the like to be links into `/usr`, and not all of them put their files there yet.
fn merge_usr(root: &Path) -> Result<(), Error> {
    for name in ["bin", "sbin", "lib", "lib64"] {
        let (old, new) = (root.join(name), root.join("usr").join(name));
        if old.is_dir() {
            make_folders(&new, &[""])?;
            run(Command::new("cp").arg("-a").arg(old.join(".")).arg(&new))?;
            std::fs::remove_dir_all(&old).map_err(Error::system("merge the image's folders"))?;
        }
        if new.is_dir() {
            symlink(Path::new("usr").join(name), &old).map_err(Error::system("link a folder"))?;
        }
    }
    Ok(())
}

/// Makes an image of a folder, whoever owns its files here.
fn load(root: &Path, without: &[&str], changes: &[&str], image: &str) -> Result<(), Error> {
    let archive = root.with_extension("tar");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(root).args(["--owner=0", "--group=0", "--numeric-owner"]);
    tar.args(without.iter().map(|pattern| format!("--exclude={pattern}"))).arg("-cf").arg(&archive).arg(".");
    run(&mut tar)?;
    let changes = changes.iter().flat_map(|change| ["--change", change]);
    run(Command::new("docker").arg("import").args(changes).arg(&archive).arg(image))?;
    Ok(())
}
