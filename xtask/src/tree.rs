//! A copy of the workspace, to be changed.
//!
//! Owns what is copied: whatever git knows. Must not know what is changed in it.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Copies the workspace. Nothing is left of an earlier copy: a test that is gone catches nothing.
pub(crate) fn copy(root: &Path, tree: &Path) -> Result<(), Box<dyn Error>> {
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root)
        .output()?;
    if !listed.status.success() {
        return Err("git does not list the workspace's files".into());
    }
    if tree.exists() {
        fs::remove_dir_all(tree)?;
    }
    for name in String::from_utf8(listed.stdout)?.split_terminator('\0') {
        let target = tree.join(name);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(root.join(name), target)?;
    }
    Ok(())
}

/// Puts the switch at the end of the core, and lets its lints pass, which are not for such code.
pub(crate) fn allow_lints(tree: &Path, switch: &str) -> Result<(), Box<dyn Error>> {
    let library = tree.join("src/lib.rs");
    let text = fs::read_to_string(&library)?;
    fs::write(library, format!("{text}{switch}"))?;
    let manifest = tree.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)?;
    fs::write(manifest, text.replace("= \"deny\"", "= \"allow\""))?;
    Ok(())
}
