//! The runs of a folder as pages in a browser, live while they train: `emergence serve`.
//!
//! A [`Server`] shows the folder that it was given and nothing else. One thread looks through the folder and keeps the list
//! of runs in memory, so that every question is answered from there; the page of a run is made when it is asked for, by the
//! code of `explore`. A [`Gate`] decides who is answered. Nothing is written, and no request names a file: a run is one of
//! the list, or it is not there.

mod catalogue;
mod cli;
mod confined;
mod entry;
mod gate;
mod list;
mod markup;
mod pace;
mod pages;
mod routes;
mod stamps;

pub use cli::Serve;
pub use gate::{Gate, Token};
pub use routes::Server;
