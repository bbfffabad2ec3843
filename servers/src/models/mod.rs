//! The registry of the models, which are one file each.
//!
//! In this order the files form a course; each one names the next at its end.

mod aio;
#[cfg(feature = "compio")]
mod compio;
mod epoll;
mod epoll_et;
mod epoll_multi;
mod epoll_pool;
mod fork;
#[cfg(feature = "glommio")]
mod glommio;
mod iterative;
#[cfg(feature = "monoio")]
mod monoio;
mod poll;
mod pool;
mod prefork;
mod prefork_fcntl;
mod prefork_fdpass;
mod prefork_mutex;
mod prethread;
mod select;
mod sigio;
#[cfg(feature = "smol")]
mod smol;
mod spin;
mod splice;
mod thread;
mod thread_duplex;
mod tokio;
mod tokio_local;
mod udp;
mod uring;
mod uring_multi;

pub use crate::model::{Demands, Family, Model};

/// Every model of this build, in reading order.
pub static MODELS: &[&dyn Model] = &[
    &iterative::Iterative,
    &fork::Fork,
    &prefork::Prefork,
    &prefork_fcntl::PreforkFcntl,
    &prefork_mutex::PreforkMutex,
    &prefork_fdpass::PreforkFdpass,
    &thread::Thread,
    &prethread::Prethread,
    &pool::Pool,
    &thread_duplex::ThreadDuplex,
    &splice::Splice,
    &spin::Spin,
    &select::Select,
    &poll::Poll,
    &epoll::Epoll,
    &epoll_et::EpollEt,
    &epoll_pool::EpollPool,
    &epoll_multi::EpollMulti,
    &sigio::Sigio,
    &aio::Aio,
    &uring::Uring,
    &uring_multi::UringMulti,
    &tokio::Tokio,
    &tokio_local::TokioLocal,
    #[cfg(feature = "smol")]
    &smol::Smol,
    #[cfg(feature = "monoio")]
    &monoio::Monoio,
    #[cfg(feature = "compio")]
    &compio::Compio,
    #[cfg(feature = "glommio")]
    &glommio::Glommio,
    &udp::Udp,
];

/// The models that this build lacks. Each has a cargo feature of the same name.
pub static NOT_BUILT: &[&str] = &[
    #[cfg(not(feature = "smol"))]
    "smol",
    #[cfg(not(feature = "monoio"))]
    "monoio",
    #[cfg(not(feature = "compio"))]
    "compio",
    #[cfg(not(feature = "glommio"))]
    "glommio",
];

/// Finds a model by name.
pub fn find(name: &str) -> Option<&'static dyn Model> {
    MODELS.iter().copied().find(|model| model.name() == name)
}

/// Explains why this build lacks the named model, if it is one of [`NOT_BUILT`].
pub fn left_out(name: &str) -> Option<String> {
    NOT_BUILT
        .contains(&name)
        .then(|| format!("this build does not include it: build with `cargo ... --features {name}`"))
}
