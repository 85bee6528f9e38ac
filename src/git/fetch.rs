//! The files of one commit, as they are in the repository, without the repository.

use std::collections::VecDeque;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::Instant;

use super::environment::Environment;
use super::failure::{GitError, Problem};
use super::repository::{Session, check_protocol, no_room};
use super::submodules::{self, Submodule};
use super::{CommitId, GitAccess, GitUrl, ReferenceName};
use crate::reason::Reason;

/// Most submodules, those of submodules included.
const MAX_SUBMODULES: usize = 200;
/// How many submodules may be in one another.
const MAX_DEPTH: usize = 8;

/// What to bring, and where to.
#[derive(Clone, Debug)]
pub struct Checkout<'a> {
    /// The repository.
    pub url: &'a GitUrl,
    /// The commit.
    pub commit: &'a CommitId,
    /// Where the commit was found: asked for when the server does not give out commits by their names.
    pub reference: Option<&'a ReferenceName>,
    /// The directory of the commit whose files are wanted; all of them without.
    pub path: Option<&'a Path>,
    /// Whether submodules are brought as well.
    pub submodules: bool,
    /// The directory to make.
    pub directory: &'a Path,
    /// A directory on the same disk where repositories may be meanwhile. Nothing secret comes there.
    pub workspace: &'a Path,
}

/// One commit to bring.
struct Work {
    url: GitUrl,
    commit: CommitId,
    reference: Option<ReferenceName>,
    path: Option<PathBuf>,
    directory: PathBuf,
    depth: usize,
}

/// Brings the files of a commit, and says when it was made, in seconds since 1970. Links are brought as
/// they are. Files of Git LFS are the pointers that the commit has.
///
/// `scratch` is where files with credentials may be for as long as it takes.
pub async fn fetch(
    checkout: &Checkout<'_>,
    access: &GitAccess,
    scratch: &Path,
    limit: Duration,
) -> Result<i64, GitError> {
    check_protocol(checkout.url, access)?;
    let environment =
        Environment::create(checkout.url, access, scratch).map_err(|error| no_room(&error))?;
    let deadline = Instant::now() + limit;
    let mut made = None;
    let mut brought = 0;
    let mut waiting = VecDeque::from([Work {
        url: checkout.url.clone(),
        commit: checkout.commit.clone(),
        reference: checkout.reference.cloned(),
        path: checkout.path.map(Path::to_owned),
        directory: checkout.directory.to_owned(),
        depth: 0,
    }]);
    while let Some(work) = waiting.pop_front() {
        brought += 1;
        if brought > MAX_SUBMODULES + 1 || work.depth > MAX_DEPTH {
            return Err(too_many_submodules(checkout.url));
        }
        check_protocol(&work.url, access)?;
        let session = Session {
            url: &work.url,
            environment: &environment,
            access,
            deadline,
        };
        let repository = Repository::create(&session, &work.commit, checkout.workspace).await?;
        repository.bring(&work).await?;
        let tree = repository.tree(&work).await?;
        repository.write_files(&tree, &work).await?;
        if made.is_none() {
            made = Some(repository.time_of(&work.commit).await?);
        }
        if checkout.submodules {
            let found = repository.submodules(&work).await?;
            waiting.extend(found);
        }
    }
    made.ok_or_else(|| Problem::CommitNotFound.into_error(checkout.url, &describe(checkout.commit)))
}

/// A repository on this disk, with no files checked out. It is gone when this is dropped.
struct Repository<'a> {
    session: &'a Session<'a>,
    directory: tempfile::TempDir,
}

impl<'a> Repository<'a> {
    /// An empty one whose objects are named like `commit`.
    async fn create(
        session: &'a Session<'a>,
        commit: &CommitId,
        workspace: &Path,
    ) -> Result<Self, GitError> {
        let directory = tempfile::Builder::new()
            .prefix(".transship-repository-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(workspace)
            .map_err(|error| no_room(&error))?;
        let format = format!("--object-format={}", commit.object_format());
        let mut command = session.environment.git();
        command
            .args(["init", "--quiet", "--bare", &format, "--"])
            .arg(directory.path());
        session.run(&mut command, &describe(commit)).await?;
        Ok(Self { session, directory })
    }

    fn git(&self) -> Command {
        let mut command = self.session.environment.git();
        command.env("GIT_DIR", self.directory.path());
        command
    }

    /// Brings the objects of a commit.
    async fn bring(&self, work: &Work) -> Result<(), GitError> {
        let wanted = describe(&work.commit);
        let mut command = self.fetching(&["--depth=1"], &[work.commit.as_str()]);
        let output = self.session.try_run(&mut command).await?;
        if output.status.success() {
            return Ok(());
        }
        if Problem::of(&output.messages) != Problem::CommitNotServed {
            return Err(self.session.failure(&output, &wanted));
        }
        tracing::info!(repository = %work.url, "the server does not give out commits: fetching what leads to it");
        if let Some(reference) = &work.reference {
            let mut command = self.fetching(&["--depth=1"], &[reference.as_str()]);
            self.session
                .run(&mut command, &reference.describe())
                .await?;
            if self.has(&work.commit).await? {
                return Ok(());
            }
            let mut command = self.fetching(&["--unshallow"], &[reference.as_str()]);
            self.session
                .run(&mut command, &reference.describe())
                .await?;
        } else {
            let all = [
                "+refs/heads/*:refs/found/heads/*",
                "+refs/tags/*:refs/found/tags/*",
            ];
            self.session
                .run(&mut self.fetching(&[], &all), &wanted)
                .await?;
        }
        if self.has(&work.commit).await? {
            Ok(())
        } else {
            Err(Problem::CommitNotServed.into_error(&work.url, &wanted))
        }
    }

    fn fetching(&self, options: &[&str], references: &[&str]) -> Command {
        let mut command = self.git();
        command
            .args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head"])
            .args(options)
            .args(["--", self.session.url.as_str()])
            .args(references);
        command
    }

    async fn has(&self, commit: &CommitId) -> Result<bool, GitError> {
        let mut command = self.git();
        command.args(["cat-file", "-e", &format!("{commit}^{{commit}}")]);
        Ok(self.session.try_run(&mut command).await?.status.success())
    }

    /// The name of the tree with the files that are wanted.
    async fn tree(&self, work: &Work) -> Result<CommitId, GitError> {
        let Some(path) = &work.path else {
            let name = format!("{}^{{tree}}", work.commit);
            return self.find(&name).await?.ok_or_else(|| no_commit(work));
        };
        let shown = path.display();
        // What follows the colon is a path whatever characters it has.
        let name = format!("{}:{shown}", work.commit);
        let missing = || GitError {
            reason: Reason::PathNotFound,
            message: format!(
                "commit {} of {} has no directory {shown}: check the path, which begins at the root of the repository",
                work.commit, work.url
            ),
        };
        let found = self.find(&name).await?.ok_or_else(missing)?;
        let mut command = self.git();
        command.args(["cat-file", "-t", found.as_str()]);
        let kind = self.session.try_run(&mut command).await?;
        if kind.status.success() && kind.given.trim_ascii() == b"tree" {
            Ok(found)
        } else {
            Err(missing())
        }
    }

    /// The object that `name` stands for.
    async fn find(&self, name: &str) -> Result<Option<CommitId>, GitError> {
        let mut command = self.git();
        command.args(["rev-parse", "--verify", "--quiet", "--end-of-options", name]);
        let output = self.session.try_run(&mut command).await?;
        let text = String::from_utf8_lossy(&output.given);
        Ok(text
            .trim_end()
            .parse()
            .ok()
            .filter(|_| output.status.success()))
    }

    /// Writes all files of a tree into a new directory, or one that has nothing in it.
    async fn write_files(&self, tree: &CommitId, work: &Work) -> Result<(), GitError> {
        make_directory(&work.directory).map_err(|error| no_room(&error))?;
        let mut command = self.git();
        command
            .env("GIT_WORK_TREE", &work.directory)
            .current_dir(&work.directory)
            .args(["read-tree", "--reset", "-u", tree.as_str()]);
        self.session
            .run(&mut command, &describe(&work.commit))
            .await?;
        Ok(())
    }

    /// When a commit was made, in seconds since 1970.
    async fn time_of(&self, commit: &CommitId) -> Result<i64, GitError> {
        let mut command = self.git();
        command.args([
            "log",
            "-1",
            "--no-show-signature",
            "--format=%ct",
            commit.as_str(),
        ]);
        let output = self.session.run(&mut command, &describe(commit)).await?;
        let text = String::from_utf8_lossy(&output);
        text.trim_end().parse().map_err(|_| GitError {
            reason: Reason::SourceInvalid,
            message: format!("commit {commit} of {} has no time", self.session.url),
        })
    }

    /// The submodules whose files belong to what is wanted.
    async fn submodules(&self, work: &Work) -> Result<Vec<Work>, GitError> {
        let wanted = describe(&work.commit);
        let file = format!("{}:.gitmodules", work.commit);
        if self.find(&file).await?.is_none() {
            return Ok(Vec::new());
        }
        let mut command = self.git();
        command.args(["config", "--blob", &file, "--null", "--list"]);
        let listing = self.session.run(&mut command, &wanted).await?;
        let modules = submodules::parse(&listing);
        let mut found = Vec::new();
        for Submodule { path, url } in modules {
            let Some(inside) = submodules::below(&path, work.path.as_deref()) else {
                continue;
            };
            let Some(commit) = self.link_at(&work.commit, &path).await? else {
                continue;
            };
            let url = work.url.submodule(&url).map_err(|error| GitError {
                reason: Reason::SourceInvalid,
                message: format!("submodule {path} of {}: {error}", work.url),
            })?;
            found.push(Work {
                url,
                commit,
                reference: None,
                path: None,
                directory: work.directory.join(inside),
                depth: work.depth + 1,
            });
        }
        Ok(found)
    }

    /// The commit of another repository that a commit has at `path`.
    async fn link_at(&self, commit: &CommitId, path: &str) -> Result<Option<CommitId>, GitError> {
        let mut command = self.git();
        command.args(["ls-tree", "-z", commit.as_str(), "--", path]);
        let listing = self.session.run(&mut command, &describe(commit)).await?;
        Ok(submodules::link(&listing, path))
    }
}

/// A directory that may be there: Git makes one for each submodule. Links on the way are not followed,
/// for Git has made all of it from a tree, which has each name once.
fn make_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if path.symlink_metadata()?.is_dir() {
                Ok(())
            } else {
                Err(error)
            }
        }
        made => made,
    }
}

fn describe(commit: &CommitId) -> String {
    format!("commit {commit}")
}

fn no_commit(work: &Work) -> GitError {
    Problem::CommitNotFound.into_error(&work.url, &describe(&work.commit))
}

fn too_many_submodules(url: &GitUrl) -> GitError {
    GitError {
        reason: Reason::SourceInvalid,
        message: format!(
            "{url} has more than {MAX_SUBMODULES} submodules, or more than {MAX_DEPTH} in one another"
        ),
    }
}
