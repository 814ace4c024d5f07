//! `cavs enroll`

use std::path::{Path, PathBuf};

use indicatif::ProgressBar;

use crate::{
    client::Api,
    commands::gallery::note_twins,
    config::Config,
    enrollment::{self, EnrollmentOutcome, Found, LeftOut},
    error::CliError,
    lookup,
    printer::Printer,
    view::{BulkEnrollment, Enrollment, FolderEnrollment, StudentRefView, StudentView, VerdictView},
};

/// Options of `cavs enroll`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Done (exit code 0) when at least one image became a template; with --from, when \
one did of every student; and when no file of a folder was left out. The verdicts say which images were \
refused or left out, and why.")]
pub struct EnrollArgs {
    /// The student
    #[arg(value_name = "NUMBER|ID", required_unless_present = "from")]
    student: Option<String>,
    /// Images (JPEG, PNG, WebP, BMP, GIF, TIFF; HEIC and AVIF where the server reads them) with one face each, or
    /// folders of such
    #[arg(value_name = "FOLDER|IMAGE", required_unless_present = "from")]
    images: Vec<PathBuf>,
    /// Enroll many students: a folder with one folder of images per student, named by their numbers
    #[arg(long, value_name = "DIR", conflicts_with_all = ["student", "images"])]
    from: Option<PathBuf>,
    /// Take images that are unlike the student's others, too: you know that they show the student
    #[arg(long, conflicts_with = "from")]
    accept_unlike: bool,
    /// Say first that the student looks like this one, as twins do: their faces go to a person from then on
    #[arg(long, value_name = "STUDENT", conflicts_with = "from")]
    twin_of: Option<String>,
}

pub(crate) async fn run(args: EnrollArgs, config: &Config, printer: &Printer) -> Result<(), CliError> {
    match args {
        EnrollArgs { from: Some(dir), .. } => bulk(&dir, config, printer).await,
        EnrollArgs { student: Some(student), images, accept_unlike, twin_of, .. } => {
            single(&student, &images, accept_unlike, twin_of.as_deref(), config, printer).await
        }
        EnrollArgs { student: None, from: None, .. } => {
            Err(CliError::usage("give a student and images, or --from DIR"))
        }
    }
}

async fn single(
    student: &str,
    paths: &[PathBuf],
    accept_unlike: bool,
    twin_of: Option<&str>,
    config: &Config,
    printer: &Printer,
) -> Result<(), CliError> {
    let Found { images, left_out } = enrollment::find_images(paths)?;
    let api = Api::connect(config).await?;
    let student = StudentRefView::from(&StudentView::from(lookup::student(&api, student).await?));
    if let Some(twin) = twin_of {
        let twin = lookup::student(&api, twin).await?;
        note_twins(&api, student.id.clone(), twin.id).await?;
    }
    let bar = printer.progress_bar(images.len());
    let EnrollmentOutcome { verdicts, failure } =
        enrollment::enroll(&api, &student.id, &images, accept_unlike, &bar).await;
    bar.finish_and_clear();
    let done = Enrollment::new(student, verdicts, not_tried(left_out));
    // What was committed before a failure is there, so it is reported before the failure is.
    if failure.is_none() || !done.images.is_empty() {
        printer.report(&done)?;
    }
    match failure {
        Some(failure) => Err(failure),
        None if done.accepted == 0 || done.left_out > 0 => Err(CliError::Reported),
        None => Ok(()),
    }
}

async fn bulk(dir: &Path, config: &Config, printer: &Printer) -> Result<(), CliError> {
    let (folders, beside) = enrollment::find_folders(dir)?;
    let api = Api::connect(config).await?;
    let bar = printer.progress_bar(folders.iter().map(|folder| folder.found.images.len()).sum());
    let mut students = Vec::with_capacity(folders.len());
    let mut end = None;
    for folder in folders {
        bar.set_message(folder.number.clone());
        let number = folder.number.clone();
        let (enrollment, failure) = one_folder(&api, folder, &bar).await;
        students.push(FolderEnrollment::new(number, enrollment, failure.as_ref()));
        // A student who is not known says nothing of the next one; a server that is gone does.
        if failure.as_ref().is_some_and(CliError::is_fatal) {
            end = failure;
            break;
        }
    }
    bar.finish_and_clear();
    let done = BulkEnrollment::new(students, not_tried(beside));
    printer.report(&done)?;
    match end {
        Some(failure) => Err(failure),
        None if done.students_failed > 0 || done.left_out > 0 => Err(CliError::Reported),
        None => Ok(()),
    }
}

async fn one_folder(
    api: &Api,
    folder: enrollment::StudentFolder,
    bar: &ProgressBar,
) -> (Option<Enrollment>, Option<CliError>) {
    let Found { images, left_out } = folder.found;
    if images.is_empty() {
        return (None, Some(enrollment::no_images(&folder.path, &left_out)));
    }
    let student = match lookup::student(api, &folder.number).await {
        Ok(student) => StudentRefView::from(&StudentView::from(student)),
        Err(error) => {
            bar.inc(images.len() as u64);
            return (None, Some(error));
        }
    };
    let EnrollmentOutcome { verdicts, failure } =
        enrollment::enroll(api, &student.id, &images, false, bar).await;
    (Some(Enrollment::new(student, verdicts, not_tried(left_out))), failure)
}

fn not_tried(files: Vec<LeftOut>) -> Vec<VerdictView> {
    let verdict =
        |file: LeftOut| VerdictView::left_out(file.path.display().to_string(), file.reason, file.message);
    files.into_iter().map(verdict).collect()
}
