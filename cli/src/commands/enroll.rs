//! `cavs enroll`

use std::{
    cell::Cell,
    collections::HashMap,
    future::ready,
    path::{Path, PathBuf},
    time::Duration,
};

use cavs_proto::{enum_to_wire, v1};
use cavs_types::{EnrollmentGate, ImportFormat};
use futures_util::{StreamExt, stream};
use indicatif::ProgressBar;

use crate::{
    args::{gate_value, words},
    client::Api,
    commands::{from_device, pairs::note_twins, students},
    completion,
    config::Config,
    enrollment::{
        self, EnrollmentOutcome, EnrollmentTerms, Found, LeftOut, Photographs, StudentFolder, Unpacked,
    },
    error::CliError,
    interruption::interruption,
    lookup,
    printer::Printer,
    view::{
        BulkEnrollment, Enrollment, EnrollmentPreview, FolderEnrollment, FolderPreview, ImportView,
        StudentRefView, StudentView, VerdictView,
    },
};

/// Students whose pictures are sent at a time: the server looks at one while others are on their way.
const STREAMS: usize = 4;

/// Options of `cavs enroll`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Done (exit code 0) when at least one image became a template; with --photos, when \
one did of every student; and when no file of a folder was left out. The verdicts say which images were \
refused or left out, and why.")]
pub struct EnrollArgs {
    /// The student
    #[arg(value_name = "NUMBER|ID", add = completion::students(), required_unless_present = "photos")]
    student: Option<String>,
    /// Images (JPEG, PNG, WebP, BMP, GIF, TIFF; HEIC and AVIF where the server reads them) with one face each, or
    /// folders of such
    #[arg(value_name = "FOLDER|IMAGE", required_unless_present_any = ["photos", "from_device"])]
    images: Vec<PathBuf>,
    /// Enroll many students: a folder or a ZIP archive with a folder of images for each student, named by the number,
    /// or with images that are (17.jpg, 17-2.jpg)
    #[arg(long, value_name = "DIR|ZIP", conflicts_with_all = ["student", "images", "from_device"])]
    photos: Option<PathBuf>,
    /// Enroll the student from the next face that this device sees, once you have said that it is theirs
    #[arg(long, value_name = "DEVICE", add = completion::devices(), conflicts_with = "images")]
    from_device: Option<String>,
    /// How many seconds to wait for that face
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "from_device",
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    wait: u64,
    /// Write the picture of that face (JPEG) into a new file before you are asked, where the site keeps one
    #[arg(long, value_name = "FILE", requires = "from_device")]
    picture: Option<PathBuf>,
    /// Says that the face is the student's, whoever it is: nobody is asked
    #[arg(long, requires = "from_device")]
    yes: bool,
    /// How strictly faces are looked at, in the place of what the site's policy says (`cavs sites gate`); `off` is noted
    /// with the template
    #[arg(long, value_name = "GATE", value_parser = words(EnrollmentGate::ALL, gate_value))]
    gate: Option<EnrollmentGate>,
    /// Import this file of students first, as `cavs students import` does
    #[arg(long, value_name = "CSV", requires = "photos")]
    roster: Option<PathBuf>,
    /// Send no picture; say which students would be enrolled from how many
    #[arg(long, requires = "photos", conflicts_with = "roster")]
    dry_run: bool,
    /// Take images that are unlike the student's others, too: you know that they show the student
    #[arg(long, conflicts_with = "photos")]
    accept_unlike: bool,
    /// Say first that the student looks like this one, as twins do: their faces go to a person from then on
    #[arg(long, value_name = "STUDENT", add = completion::students(), conflicts_with = "photos")]
    twin_of: Option<String>,
}

pub(crate) async fn run(args: EnrollArgs, config: &Config, printer: &Printer) -> Result<(), CliError> {
    match args {
        EnrollArgs { photos: Some(photos), roster, dry_run, gate, .. } => {
            let terms = EnrollmentTerms { gate, accept_unlike: false };
            // Whoever interrupts it leaves no unpacked photographs behind.
            tokio::select! {
                done = bulk(&photos, roster.as_deref(), dry_run, terms, config, printer) => done,
                interrupted = interruption("what was enrolled before stays") => Err(interrupted),
            }
        }
        EnrollArgs {
            student: Some(student),
            from_device: Some(device),
            accept_unlike,
            twin_of,
            gate,
            ..
        } => {
            let face = from_device::NextFace {
                student,
                device,
                wait: Duration::from_secs(args.wait),
                picture: args.picture,
                is_theirs: args.yes,
                twin_of,
                terms: EnrollmentTerms { accept_unlike, gate },
            };
            from_device::enroll(face, config, printer).await
        }
        EnrollArgs { student: Some(student), images, accept_unlike, twin_of, gate, .. } => {
            let terms = EnrollmentTerms { accept_unlike, gate };
            single(&student, &images, terms, twin_of.as_deref(), config, printer).await
        }
        EnrollArgs { student: None, photos: None, .. } => {
            Err(CliError::usage("give a student and images, or --photos DIR"))
        }
    }
}

async fn single(
    student: &str,
    paths: &[PathBuf],
    terms: EnrollmentTerms,
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
        enrollment::enroll(&api, &student.id, &images, terms, &bar).await;
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

async fn bulk(
    photos: &Path,
    roster: Option<&Path>,
    dry_run: bool,
    terms: EnrollmentTerms,
    config: &Config,
    printer: &Printer,
) -> Result<(), CliError> {
    let unpacked = enrollment::is_archive(photos).then(|| enrollment::unpack(photos)).transpose()?;
    let root = unpacked.as_ref().map_or(photos, Unpacked::root);
    let mut found = enrollment::find_photographs(root)?;
    let api = Api::connect(config).await?;
    if let Some(roster) = roster {
        import_roster(&api, roster, printer).await?;
    }
    // One folder that is no student's, of pictures that are named by numbers: archives often have one at their top.
    if let ([only], []) = (found.folders.as_slice(), found.named.as_slice())
        && !is_student(&api, &only.number).await?
    {
        let inside = enrollment::find_photographs(&only.path)?;
        let numbers = inside.named.first().map(|path| enrollment::numbers_of(path)).unwrap_or_default();
        for number in numbers {
            if is_student(&api, &number).await? {
                found = inside;
                break;
            }
        }
    }
    let Photographs { mut folders, named, left_out } = found;
    group_by_student(&api, named, &mut folders).await?;
    if dry_run {
        return preview(&api, folders, printer).await;
    }
    let bar = printer.progress_bar(folders.iter().map(|folder| folder.found.images.len()).sum());
    let ended = Cell::new(false);
    let enrolled = stream::iter(folders.into_iter().enumerate()).map(|(place, folder)| {
        let (api, bar, ended) = (&api, &bar, &ended);
        async move {
            // A student who is not known says nothing of the next one; a server that is gone does.
            if ended.get() {
                return None;
            }
            bar.set_message(folder.number.clone());
            let number = folder.number.clone();
            let (enrollment, failure) = one_folder(api, folder, terms, bar).await;
            let failure_is_fatal = failure.as_ref().is_some_and(CliError::is_fatal);
            ended.set(ended.get() || failure_is_fatal);
            let done = FolderEnrollment::new(number, enrollment, failure.as_ref());
            Some((place, done, failure.filter(|_| failure_is_fatal)))
        }
    });
    let mut done: Vec<_> = enrolled.buffer_unordered(STREAMS).filter_map(ready).collect().await;
    bar.finish_and_clear();
    done.sort_by_key(|(place, ..)| *place);
    let (students, fatal): (Vec<_>, Vec<_>) =
        done.into_iter().map(|(_, done, failure)| (done, failure)).unzip();
    let mut done = BulkEnrollment::new(students, not_tried(left_out));
    if let Some(unpacked) = &unpacked {
        done.rename_images(|name| unpacked.name(name).to_owned());
    }
    let fatal = fatal.into_iter().flatten().next();
    if fatal.is_none() {
        done.students_missing = count_missing(&api).await?;
    }
    printer.report(&done)?;
    match fatal {
        Some(failure) => Err(failure),
        None if done.students_failed > 0 || done.left_out > 0 => Err(CliError::Reported),
        None => Ok(()),
    }
}

/// Says which students would be enrolled from how many pictures.
async fn preview(api: &Api, folders: Vec<StudentFolder>, printer: &Printer) -> Result<(), CliError> {
    let mut students = Vec::new();
    for StudentFolder { number, found, .. } in folders {
        let student = match lookup::student(api, &number).await {
            Ok(student) => Some(StudentRefView::from(&StudentView::from(student))),
            Err(error) if error.is_fatal() => return Err(error),
            Err(_) => None,
        };
        let (images, left_out) = (found.images.len(), found.left_out.len());
        students.push(FolderPreview { number, student, images, left_out });
    }
    let preview = EnrollmentPreview { students };
    printer.report(&preview)?;
    printer.note("no picture was sent, as it was a dry run");
    if preview.is_complete() { Ok(()) } else { Err(CliError::Reported) }
}

/// Imports a file of students; it must be without problems.
async fn import_roster(api: &Api, file: &Path, printer: &Printer) -> Result<(), CliError> {
    let done = students::import_file(
        api,
        file,
        &v1::ImportOptions { format: enum_to_wire(ImportFormat::Csv), ..v1::ImportOptions::default() },
    )
    .await?;
    if done.problem_count > 0 {
        printer.report(&ImportView::new(done, false))?;
        return Err(CliError::Reported);
    }
    printer.note(&format!("{} students added, {} changed", done.created, done.updated));
    Ok(())
}

/// Adds pictures that are named by students' numbers to these students' folders.
async fn group_by_student(
    api: &Api,
    named: Vec<PathBuf>,
    folders: &mut Vec<StudentFolder>,
) -> Result<(), CliError> {
    let mut known: HashMap<String, bool> =
        folders.iter().map(|folder| (folder.number.clone(), true)).collect();
    for path in named {
        let numbers = enrollment::numbers_of(&path);
        let mut meant = None;
        for number in &numbers {
            let is_known = match known.get(number) {
                Some(is_known) => *is_known,
                None => is_student(api, number).await?,
            };
            known.insert(number.clone(), is_known);
            if is_known {
                meant = Some(number.clone());
                break;
            }
        }
        // Of nobody: told under its whole name.
        let number = meant.or_else(|| numbers.first().cloned()).unwrap_or_default();
        match folders.iter_mut().find(|folder| folder.number == number) {
            Some(folder) => folder.found.images.push(path),
            None => {
                let found = Found { images: vec![path.clone()], left_out: Vec::new() };
                folders.push(StudentFolder { number, path, found });
            }
        }
    }
    folders.sort_by(|a, b| a.number.cmp(&b.number));
    Ok(())
}

/// Whether a number is a student's.
async fn is_student(api: &Api, number: &str) -> Result<bool, CliError> {
    match lookup::student(api, number).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_fatal() => Err(error),
        Err(_) => Ok(false),
    }
}

/// Active students who have no template.
async fn count_missing(api: &Api) -> Result<u64, CliError> {
    let request = v1::ListStudentsRequest {
        page_size: 1,
        enrolled: Some(false),
        active: Some(true),
        with_total_size: true,
        ..v1::ListStudentsRequest::default()
    };
    Ok(api.call(api.students().list_students(request)).await?.total_size)
}

async fn one_folder(
    api: &Api,
    folder: StudentFolder,
    terms: EnrollmentTerms,
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
        enrollment::enroll(api, &student.id, &images, terms, bar).await;
    (Some(Enrollment::new(student, verdicts, not_tried(left_out))), failure)
}

fn not_tried(files: Vec<LeftOut>) -> Vec<VerdictView> {
    let verdict =
        |file: LeftOut| VerdictView::left_out(file.path.display().to_string(), file.reason, file.message);
    files.into_iter().map(verdict).collect()
}
