//! `emergence serve`.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use analysis::{CliError, Machine};
use clap::Args;
use data::TaskRegistry;
use gethostname::gethostname;
use terminal::{Failure, note, say, stop_signal};

use crate::{Gate, Server, Token};

/// The folder, and who may look.
#[derive(Debug, Args)]
pub struct Serve {
    /// Folder of runs, or of sweeps; nothing outside of it is read but the files that the runs' own tasks name
    #[arg(default_value = "runs")]
    runs: PathBuf,
    /// Port; 0 takes one that is free
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Address to answer on; on any but a loopback address a token is asked for, which stands in the printed address
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// Ask for a token on a loopback address as well: where others use this machine, or a proxy gives it another name
    #[arg(long)]
    token: bool,
    /// States shown of every run [default: as many as keep its page under 5 MB, at most 400]
    #[arg(long, value_name = "N", value_parser = terminal::whole::<u64>(2, None))]
    states: Option<u64>,
    /// What reads the states
    #[command(flatten)]
    machine: Machine,
}

impl Serve {
    /// Shows the runs until the program is asked to stop.
    ///
    /// # Errors
    /// When there is no such folder, the port is taken, or the system fails.
    pub fn run(self, registry: &TaskRegistry) -> Result<(), CliError> {
        let folder = |error: io::Error| {
            let reason = format!("RUNS must be a folder that can be read, but {}: {error}", self.runs.display());
            CliError::from(Failure::Request(anyhow::anyhow!(reason)))
        };
        fs::read_dir(&self.runs).map_err(folder)?;
        let token = match self.token || !self.address.is_loopback() {
            true => Some(Token::random().map_err(|error| Failure::Run(error.into()))?),
            false => None,
        };
        let device = self.machine.prepare()?;
        let server = Server::new(
            &self.runs,
            registry,
            self.states.map(|states| states as usize),
            (device, self.machine.threads()),
        )
        .map_err(folder)?;
        stop_signal().on_exit_say("the pages are gone; the runs are as they were".to_owned());
        let asked = SocketAddr::new(self.address, self.port);
        let ready = |address: SocketAddr| {
            say(&self.link(address, token.as_ref())).map_err(io::Error::other)?;
            note("Ctrl-C ends it; the runs go on");
            Ok(Gate::new(address.port(), token))
        };
        Ok(server.run(asked, ready).map_err(|error| self.failure(error))?)
    }

    /// What is opened in a browser.
    fn link(&self, address: SocketAddr, token: Option<&Token>) -> String {
        let host = match address.ip() {
            // Every address of this machine: its name is one that others can use.
            ip if ip.is_unspecified() => gethostname().to_string_lossy().into_owned(),
            IpAddr::V6(ip) => format!("[{ip}]"),
            IpAddr::V4(ip) => ip.to_string(),
        };
        let token = token.map_or(String::new(), |token| format!("?token={token}"));
        format!("http://{host}:{}/{token}", address.port())
    }

    fn failure(&self, error: io::Error) -> Failure {
        let Self { address, port, .. } = self;
        let reason = match error.kind() {
            ErrorKind::AddrInUse => format!("--port must be free, but another program has port {port} of {address}"),
            ErrorKind::AddrNotAvailable => format!("--address must be one of this machine, but is {address}"),
            ErrorKind::PermissionDenied => format!("--port must be one that you may use, but {port} is not"),
            _ => return Failure::Run(error.into()),
        };
        Failure::Request(anyhow::anyhow!(reason))
    }
}
