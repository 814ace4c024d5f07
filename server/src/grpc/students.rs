use cavs_proto::{enum_from_wire, enum_to_wire, status_of, to_timestamp, v1};
use cavs_types::{PhotoConsent, ProtocolError, SiteId, StudentField};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, Streaming};

use super::{
    convert::{caller, optional_name, page_request, required_id, total_to_wire},
    layer::Caller,
    uploads::{IMPORTS, RETRY, TOLD, receive_file},
};
use crate::{
    biometrics::Erasure,
    error::ServiceError,
    people::{
        ImportOptions, ImportPlan, ImportProblem, Student, StudentChange, StudentFilter, StudentKey,
        StudentProfile, StudentSearch, StudentState, StudentVersion, Students,
    },
    text::lookup_number,
};

pub(super) struct StudentApi {
    students: Students,
    imports: Semaphore,
}

impl StudentApi {
    pub(super) fn new(students: Students) -> Self {
        Self { students, imports: Semaphore::new(IMPORTS) }
    }
}

#[tonic::async_trait]
impl v1::student_service_server::StudentService for StudentApi {
    async fn create_student(
        &self,
        request: Request<v1::CreateStudentRequest>,
    ) -> Result<Response<v1::CreateStudentResponse>, Status> {
        let site = caller(&request)?.site;
        let profile = StudentProfile::try_from(request.into_inner()).map_err(status_of)?;
        Ok(Response::new(v1::Student::from(self.students.create(site, profile).await?).into()))
    }

    async fn update_student(
        &self,
        request: Request<v1::UpdateStudentRequest>,
    ) -> Result<Response<v1::UpdateStudentResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::UpdateStudentRequest { student, update_mask } = request.into_inner();
        let student = student.ok_or(ProtocolError::Missing { field: "student" }).map_err(status_of)?;
        let id = required_id("student.id", &student.id).map_err(status_of)?;
        let seen = StudentVersion::from_etag(&student.etag).map_err(status_of)?;
        let change = changed_fields(student, update_mask).map_err(status_of)?;
        Ok(Response::new(v1::Student::from(self.students.update(site, id, seen, &change).await?).into()))
    }

    async fn deactivate_student(
        &self,
        request: Request<v1::DeactivateStudentRequest>,
    ) -> Result<Response<v1::DeactivateStudentResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::DeactivateStudentRequest { student_id, etag } = request.into_inner();
        self.set_active(site, &student_id, &etag, false).await
    }

    async fn reactivate_student(
        &self,
        request: Request<v1::ReactivateStudentRequest>,
    ) -> Result<Response<v1::ReactivateStudentResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::ReactivateStudentRequest { student_id, etag } = request.into_inner();
        self.set_active(site, &student_id, &etag, true).await
    }

    async fn import_students(
        &self,
        request: Request<Streaming<v1::ImportStudentsRequest>>,
    ) -> Result<Response<v1::ImportStudentsResponse>, Status> {
        let Caller { user: by, site, .. } = caller(&request)?;
        let busy = |_| ServiceError::Busy { what: "the import of students", retry_in: RETRY };
        let _place = self.imports.try_acquire().map_err(busy)?;
        let (options, data) = receive_file(request.into_inner()).await?;
        let options = ImportOptions::try_from(options).map_err(status_of)?;
        let (plan, applied) = self.students.import(site, data, options, by).await?;
        Ok(Response::new(plan_to_wire(plan, applied)))
    }

    async fn get_student(
        &self,
        request: Request<v1::GetStudentRequest>,
    ) -> Result<Response<v1::GetStudentResponse>, Status> {
        let site = caller(&request)?.site;
        let key = StudentKey::try_from(request.into_inner()).map_err(status_of)?;
        Ok(Response::new(v1::Student::from(self.students.get(site, &key).await?).into()))
    }

    async fn list_students(
        &self,
        request: Request<v1::ListStudentsRequest>,
    ) -> Result<Response<v1::ListStudentsResponse>, Status> {
        let site = caller(&request)?.site;
        let request = request.into_inner();
        let filter = StudentFilter::try_from(&request).map_err(status_of)?;
        let v1::ListStudentsRequest { page_size, page_token, with_total_size, .. } = request;
        let page = page_request(page_size, &page_token, with_total_size, filter.list_name())?;
        let found = self.students.list(site, &filter, &page).await?;
        let (total_size, total_size_exact) = total_to_wire(found.total);
        Ok(Response::new(v1::ListStudentsResponse {
            students: found.items.into_iter().map(Into::into).collect(),
            next_page_token: found.next,
            total_size,
            total_size_exact,
        }))
    }

    async fn erase_student(
        &self,
        request: Request<v1::EraseStudentRequest>,
    ) -> Result<Response<v1::EraseStudentResponse>, Status> {
        let Caller { user: by, site, .. } = caller(&request)?;
        let id = required_id("student_id", &request.into_inner().student_id).map_err(status_of)?;
        let student = v1::Student::from(self.students.erase(site, id, by).await?);
        let erasure = student.erasure.clone();
        Ok(Response::new(v1::EraseStudentResponse { student: Some(student), erasure }))
    }

    async fn get_erasure(
        &self,
        request: Request<v1::GetErasureRequest>,
    ) -> Result<Response<v1::GetErasureResponse>, Status> {
        let site = caller(&request)?.site;
        let id = required_id("student_id", &request.into_inner().student_id).map_err(status_of)?;
        Ok(Response::new(v1::Erasure::from(self.students.erasure(site, id).await?).into()))
    }
}

impl StudentApi {
    async fn set_active<R: From<v1::Student>>(
        &self,
        site: SiteId,
        student_id: &str,
        etag: &str,
        active: bool,
    ) -> Result<Response<R>, Status> {
        let id = required_id("student_id", student_id).map_err(status_of)?;
        let seen = StudentVersion::from_etag(etag).map_err(status_of)?;
        let student = self.students.update(site, id, seen, &StudentChange::Active(active)).await?;
        Ok(Response::new(v1::Student::from(student).into()))
    }
}

impl TryFrom<v1::ImportOptions> for ImportOptions {
    type Error = ProtocolError;

    fn try_from(options: v1::ImportOptions) -> Result<Self, ProtocolError> {
        let v1::ImportOptions { format, encoding, delimiter, dry_run, skip_bad_rows, deactivate_missing } =
            options;
        let format = enum_from_wire("options.format", format)?;
        let read = Self::new(format, &encoding, &delimiter)?;
        Ok(Self { dry_run, skip_bad_rows, deactivate_missing, ..read })
    }
}

fn plan_to_wire(plan: ImportPlan, applied: bool) -> v1::ImportStudentsResponse {
    v1::ImportStudentsResponse {
        applied,
        created: plan.create.len() as u64,
        updated: plan.update.len() as u64,
        unchanged: plan.unchanged,
        deactivated: plan.deactivated,
        reactivated: plan.reactivated,
        missing: plan.missing,
        problem_count: plan.problems.len() as u64,
        problems: plan.problems.into_iter().take(TOLD).map(Into::into).collect(),
        ignored_columns: plan.ignored_columns,
    }
}

impl From<ImportProblem> for v1::ImportProblem {
    fn from(problem: ImportProblem) -> Self {
        Self {
            file: problem.place.file.to_owned(),
            line: problem.place.line,
            field: problem.field.unwrap_or_default().to_owned(),
            message: problem.message,
        }
    }
}

impl TryFrom<v1::CreateStudentRequest> for StudentProfile {
    type Error = ProtocolError;

    fn try_from(request: v1::CreateStudentRequest) -> Result<Self, ProtocolError> {
        let v1::CreateStudentRequest {
            number,
            name,
            section,
            email,
            department,
            external_id,
            enrollment_date,
            photo_consent,
            request_id: _,
        } = request;
        let fields = [
            (StudentField::Number, &number),
            (StudentField::Name, &name),
            (StudentField::Section, &section),
            (StudentField::Email, &email),
            (StudentField::Department, &department),
            (StudentField::ExternalId, &external_id),
            (StudentField::EnrollmentDate, &enrollment_date),
        ];
        let mut profile = Self::default();
        fields.into_iter().try_for_each(|(field, typed)| profile.set(field, typed))?;
        if photo_consent != 0 {
            profile.photo_consent = enum_from_wire("photo_consent", photo_consent)?;
        }
        Ok(profile)
    }
}

/// What an update is of: the fields of the mask, or those that are not empty.
fn changed_fields(
    student: v1::Student,
    mask: Option<prost_types::FieldMask>,
) -> Result<StudentChange, ProtocolError> {
    let consent = match student.photo_consent {
        0 => String::new(),
        number => enum_from_wire::<PhotoConsent>("student.photo_consent", number)?.to_string(),
    };
    let value = |field| match field {
        StudentField::Number => student.number.clone(),
        StudentField::Name => student.name.clone(),
        StudentField::Email => student.email.clone(),
        StudentField::Department => student.department.clone(),
        StudentField::Section => student.section.clone(),
        StudentField::ExternalId => student.external_id.clone(),
        StudentField::EnrollmentDate => student.enrollment_date.clone(),
        StudentField::PhotoConsent => consent.clone(),
    };
    let fields = match mask {
        Some(mask) if !mask.paths.is_empty() => {
            let field = |path: &String| {
                path.parse::<StudentField>().map(|field| (field, value(field))).map_err(|_| {
                    let shown: String = path.chars().take(64).collect();
                    ProtocolError::invalid("update_mask", format_args!("{shown:?} can't be changed"))
                })
            };
            mask.paths.iter().map(field).collect::<Result<Vec<_>, _>>()?
        }
        _ => {
            let all = StudentField::ALL.iter().map(|&field| (field, value(field)));
            all.filter(|(_, value)| !value.is_empty()).collect()
        }
    };
    Ok(StudentChange::Fields(fields))
}

impl TryFrom<&v1::ListStudentsRequest> for StudentFilter {
    type Error = ProtocolError;

    fn try_from(request: &v1::ListStudentsRequest) -> Result<Self, ProtocolError> {
        Ok(Self {
            section: optional_name("section", &request.section)?,
            department: optional_name("department", &request.department)?,
            search: StudentSearch::new(&request.query)?,
            enrolled: request.enrolled,
            active: request.active,
            photo_consent: match request.photo_consent {
                0 => None,
                number => Some(enum_from_wire("photo_consent", number)?),
            },
            re_enroll: request.re_enroll,
        })
    }
}

impl TryFrom<v1::GetStudentRequest> for StudentKey {
    type Error = ProtocolError;

    fn try_from(request: v1::GetStudentRequest) -> Result<Self, ProtocolError> {
        use v1::get_student_request::Key;
        match request.key {
            Some(Key::Id(id)) => Ok(Self::Id(required_id("id", &id)?)),
            Some(Key::Number(number)) => Ok(Self::Number(lookup_number("number", &number)?)),
            None => Err(ProtocolError::Missing { field: "key" }),
        }
    }
}

impl From<Student> for v1::Student {
    fn from(student: Student) -> Self {
        let Student { state, created_at, updated_at, template_count, erased_at, erasure, re_enroll } =
            student;
        let StudentState { id, profile, is_active, version } = state;
        Self {
            id: id.to_string(),
            enrollment_date: profile.get(StudentField::EnrollmentDate).into_owned(),
            number: profile.number,
            name: profile.name,
            section: profile.section,
            email: profile.email,
            department: profile.department,
            external_id: profile.external_id,
            photo_consent: enum_to_wire(profile.photo_consent),
            active: is_active,
            create_time: Some(to_timestamp(created_at)),
            update_time: Some(to_timestamp(updated_at)),
            template_count,
            erase_time: erased_at.map(to_timestamp),
            erasure: erasure.map(Into::into),
            etag: version.etag(),
            re_enroll,
        }
    }
}

impl From<Erasure> for v1::Erasure {
    fn from(erasure: Erasure) -> Self {
        Self {
            id: erasure.id.to_string(),
            state: enum_to_wire(erasure.state),
            templates: erasure.templates,
            sightings: erasure.sightings,
            request_time: Some(to_timestamp(erasure.requested_at)),
            purge_time: erasure.purged_at.map(to_timestamp),
            waits_for: erasure.waits_for,
        }
    }
}
