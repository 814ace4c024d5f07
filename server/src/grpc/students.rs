use cavs_proto::{enum_to_wire, status_of, to_timestamp, v1};
use cavs_types::ProtocolError;
use tonic::{Request, Response, Status};

use super::{
    convert::{caller, page_request, required_id, total_to_wire},
    layer::Caller,
};
use crate::{
    biometrics::Erasure,
    people::Students,
    people::{NewStudent, Student, StudentFilter, StudentKey},
    text::lookup_number,
};

pub(super) struct StudentApi(Students);

impl StudentApi {
    pub(super) fn new(students: Students) -> Self {
        Self(students)
    }
}

#[tonic::async_trait]
impl v1::student_service_server::StudentService for StudentApi {
    async fn create_student(
        &self,
        request: Request<v1::CreateStudentRequest>,
    ) -> Result<Response<v1::Student>, Status> {
        let site = caller(&request)?.site;
        let v1::CreateStudentRequest { number, name, section } = request.into_inner();
        let new = NewStudent::new(&number, &name, &section).map_err(status_of)?;
        Ok(Response::new(self.0.create(site, &new).await?.into()))
    }

    async fn get_student(
        &self,
        request: Request<v1::GetStudentRequest>,
    ) -> Result<Response<v1::Student>, Status> {
        let site = caller(&request)?.site;
        let key = StudentKey::try_from(request.into_inner()).map_err(status_of)?;
        Ok(Response::new(self.0.get(site, &key).await?.into()))
    }

    async fn list_students(
        &self,
        request: Request<v1::ListStudentsRequest>,
    ) -> Result<Response<v1::ListStudentsResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::ListStudentsRequest { page_size, page_token, section, name, with_total_size } =
            request.into_inner();
        let filter = StudentFilter::new(&section, &name).map_err(status_of)?;
        let page = page_request(page_size, &page_token, with_total_size, filter.list_name())?;
        let found = self.0.list(site, &filter, &page).await?;
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
        let student = v1::Student::from(self.0.erase(site, id, by).await?);
        let erasure = student.erasure.clone();
        Ok(Response::new(v1::EraseStudentResponse { student: Some(student), erasure }))
    }

    async fn get_erasure(
        &self,
        request: Request<v1::GetErasureRequest>,
    ) -> Result<Response<v1::Erasure>, Status> {
        let site = caller(&request)?.site;
        let id = required_id("student_id", &request.into_inner().student_id).map_err(status_of)?;
        Ok(Response::new(self.0.erasure(site, id).await?.into()))
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
        Self {
            id: student.id.to_string(),
            number: student.number,
            name: student.name,
            section: student.section,
            create_time: Some(to_timestamp(student.created_at)),
            template_count: student.template_count,
            erase_time: student.erased_at.map(to_timestamp),
            erasure: student.erasure.map(Into::into),
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
