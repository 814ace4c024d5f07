//! `cavs certs`

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use cavs_certs::{CA_CERTIFICATE_FILE, CertError, MAX_CSR_BYTES, SiteCa, machine_names, write_dev_set};
use uuid::Uuid;

use crate::{
    error::CliError,
    printer::Printer,
    view::{CertificateView, DevSetView},
};

/// What `cavs certs` does.
#[derive(Debug, clap::Subcommand)]
pub enum CertsCommand {
    /// Make a root, a server certificate and device certificates for development
    Dev {
        /// Folder for the files; keep it out of version control
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Another DNS name or IP address of the server, besides localhost and the names and addresses that this
        /// machine has; may be repeated
        #[arg(long = "server-name", value_name = "NAME")]
        server_names: Vec<String>,
        /// Id of a device that gets a certificate; may be repeated
        #[arg(long = "device-id", value_name = "ID")]
        device_ids: Vec<Uuid>,
    },
    /// Make the root of a site
    Root {
        /// Name of the site
        #[arg(long, value_name = "NAME")]
        site_name: String,
        /// Folder for ca.pem and ca.key
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Make the certificate of a server: server.pem and server.key
    Server {
        /// Folder with ca.pem and ca.key
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// DNS name or IP address of the server; may be repeated
        #[arg(long = "server-name", value_name = "NAME", required = true)]
        server_names: Vec<String>,
        /// Folder for the files
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Make the certificate of a device: device.pem and device.key
    Device {
        /// Folder with ca.pem and ca.key
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// Id of the device, as `cavs devices add` gave it
        #[arg(long, value_name = "ID")]
        device_id: Uuid,
        /// Sign the request of a device that keeps its own key
        #[arg(long, value_name = "FILE")]
        csr: Option<PathBuf>,
        /// Folder for the files
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

pub(crate) fn run(command: CertsCommand, printer: &Printer) -> Result<(), CliError> {
    match command {
        CertsCommand::Dev { out, server_names, device_ids } => {
            let mut names = machine_names();
            let more: Vec<String> = server_names.into_iter().filter(|name| !names.contains(name)).collect();
            names.extend(more);
            let set = write_dev_set(&out, &names, &device_ids)?;
            printer.report(&DevSetView::new(&set, names))?;
            printer.note("for development only: whoever has ca.key can be any device");
            Ok(())
        }
        CertsCommand::Root { site_name, out } => {
            let root = SiteCa::create(&site_name)?;
            let files = root.save(&out)?;
            printer.report(&CertificateView::new(&files, &files.certificate, Some(root.not_after())))?;
            printer.note("keep ca.key away from the network: whoever has it can be any device");
            Ok(())
        }
        CertsCommand::Server { ca, server_names, out } => {
            let root = SiteCa::load(&ca)?;
            let issued = root.issue_server(&server_names)?;
            let root_file = write_root(&root, &out)?;
            let files = issued.save(&out, "server")?;
            printer.report(&CertificateView::new(&files, &root_file, Some(issued.not_after)))
        }
        CertsCommand::Device { ca, device_id, csr: None, out } => {
            let root = SiteCa::load(&ca)?;
            let issued = root.issue_device(device_id)?;
            let root_file = write_root(&root, &out)?;
            let files = issued.save(&out, "device")?;
            printer.report(&CertificateView::new(&files, &root_file, Some(issued.not_after)))
        }
        CertsCommand::Device { ca, device_id, csr: Some(csr), out } => {
            let root = SiteCa::load(&ca)?;
            let certificate = root.sign_device_csr(device_id, &read_request(&csr)?)?;
            let root_file = write_root(&root, &out)?;
            let path = out.join("device.pem");
            write_new(&path, &certificate)?;
            printer.report(&CertificateView::without_key(&path, &root_file))
        }
    }
}

/// Puts the root's certificate beside what it signed, so that the folder is all that a machine needs.
fn write_root(root: &SiteCa, out: &Path) -> Result<PathBuf, CliError> {
    fs::create_dir_all(out).map_err(|error| CliError::file(out, error))?;
    let path = out.join(CA_CERTIFICATE_FILE);
    match fs::read(&path) {
        Ok(there) if there == root.certificate_pem().as_bytes() => {}
        Ok(_) => return Err(CertError::Exists(path).into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => write_new(&path, root.certificate_pem())?,
        Err(error) => return Err(CliError::file(&path, error)),
    }
    Ok(path)
}

fn write_new(path: &Path, text: &str) -> Result<(), CliError> {
    use io::Write;
    let created = fs::OpenOptions::new().write(true).create_new(true).open(path);
    match created.and_then(|mut file| file.write_all(text.as_bytes())) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(CertError::Exists(path.to_owned()).into())
        }
        written => written.map_err(|error| CliError::file(path, error)),
    }
}

fn read_request(path: &Path) -> Result<Vec<u8>, CliError> {
    use io::Read;
    let mut request = Vec::new();
    let file = fs::File::open(path).map_err(|error| CliError::file(path, error))?;
    // One byte more than is looked at shows that it is too long.
    file.take(MAX_CSR_BYTES as u64 + 1)
        .read_to_end(&mut request)
        .map_err(|error| CliError::file(path, error))?;
    Ok(request)
}
