use std::{
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    panic,
    path::Path,
    process::Command,
    thread,
};

use nix::unistd::{Gid, Uid, User, setfsgid, setfsuid};

use crate::ClusterError;

/// The account that everybody shares who needs none: what it owns belongs to any of them.
const NOBODY: u32 = 65534;

/// The unprivileged account that a cluster of root's runs as.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
}

impl Account {
    /// `None` where the caller is unprivileged and runs the cluster as itself.
    pub(crate) fn for_cluster() -> Result<Option<Self>, ClusterError> {
        Self::for_user(Uid::effective(), |name| User::from_name(name).ok().flatten())
    }

    fn for_user(caller: Uid, look_up: impl Fn(&str) -> Option<User>) -> Result<Option<Self>, ClusterError> {
        if caller.as_raw() == NOBODY {
            return Err(ClusterError::Nobody);
        }
        if !caller.is_root() {
            return Ok(None);
        }
        // The user needs an entry in passwd: initdb looks it up.
        let user = look_up("postgres").ok_or(ClusterError::NoAccount)?;
        if user.uid.is_root() || user.uid.as_raw() == NOBODY {
            return Err(ClusterError::NoAccount);
        }
        Ok(Some(Self { name: user.name, uid: user.uid, gid: user.gid }))
    }

    pub(crate) fn apply(&self, command: &mut Command) {
        // The standard library drops root's other groups along with these.
        command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
    }

    /// Whether the account may pass through a directory, by its plain permission bits.
    pub(crate) fn may_enter(&self, directory: &Path) -> bool {
        let Ok(found) = fs::metadata(directory) else { return false };
        let bit = if found.uid() == self.uid.as_raw() {
            0o100
        } else if found.gid() == self.gid.as_raw() {
            0o010
        } else {
            0o001
        };
        found.mode() & bit != 0
    }
}

/// Does work on files with the rights of the account, where there is one, and with no more: on a thread of its
/// own, as the kernel keeps these rights for each thread. Threads and processes that it starts have them, too.
pub(crate) fn with_rights_of<T: Send>(
    account: Option<&Account>,
    work: impl FnOnce() -> Result<T, ClusterError> + Send,
) -> Result<T, ClusterError> {
    let Some(account) = account else { return work() };
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            // The kernel takes root's power over files away together with its id.
            setfsgid(account.gid);
            setfsuid(account.uid);
            // Neither call says whether it did anything; one that can't do anything tells what is in force.
            let in_force = (setfsuid(Uid::from_raw(u32::MAX)), setfsgid(Gid::from_raw(u32::MAX)));
            if in_force != (account.uid, account.gid) {
                return Err(ClusterError::Privileges { account: account.name.clone() });
            }
            work()
        });
        worker.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn nobody_is_no_account() {
        let known = |name: &str| {
            let nobody = User::from_name("nobody").ok().flatten();
            nobody.map(|user| User { name: name.to_owned(), ..user })
        };
        let nobody = Uid::from_raw(NOBODY);
        assert!(matches!(Account::for_user(nobody, known), Err(ClusterError::Nobody)));
        let root = Uid::from_raw(0);
        // There is no `postgres`, or it is another name of `nobody`.
        let only_nobody = |name: &str| known(name).filter(|user| user.name == "nobody");
        assert!(matches!(Account::for_user(root, only_nobody), Err(ClusterError::NoAccount)));
        assert!(matches!(Account::for_user(root, known), Err(ClusterError::NoAccount)));
        assert!(Account::for_user(Uid::from_raw(1000), known).unwrap().is_none());
    }

    #[test]
    fn root_does_to_files_what_the_account_may_do() {
        let Some(account) = Account::for_cluster().unwrap() else { return };
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("secret");
        fs::write(&secret, "root's").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let opened = with_rights_of(Some(&account), || Ok(fs::read(&secret).is_ok())).unwrap();
        assert!(!opened, "read {}", secret.display());
        assert!(fs::read(&secret).is_ok(), "this thread keeps its rights");
    }
}
