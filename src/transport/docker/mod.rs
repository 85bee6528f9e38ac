//! Images as `docker save` writes and `docker load` reads them: in a tar file, or at a Docker daemon.
//!
//! Both are the same format, so that a daemon is read through the archive that it saves, and written
//! through an archive that it loads. Such an archive holds images that run, one platform each: what
//! it cannot hold is refused with what to do instead, never left out.

mod builder;
mod daemon;
mod destination;
mod image;
mod original;
mod sink;
mod source;
mod table;

pub use self::daemon::DockerDaemon;
pub use self::destination::DockerArchiveDestination;
pub use self::source::DockerArchiveSource;
