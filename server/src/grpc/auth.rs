use cavs_proto::{to_timestamp, v1};
use secrecy::ExposeSecret;
use tonic::{Request, Response, Status};

use super::convert::caller;
use crate::{
    app::App,
    domain::{Credentials, Role, User},
};

pub(super) struct Auth(App);

impl Auth {
    pub(super) fn new(app: App) -> Self {
        Self(app)
    }
}

#[tonic::async_trait]
impl v1::auth_service_server::AuthService for Auth {
    async fn login(&self, request: Request<v1::LoginRequest>) -> Result<Response<v1::LoginResponse>, Status> {
        let v1::LoginRequest { username, password } = request.into_inner();
        let session = self.0.log_in(Credentials::new(&username, password)?).await?;
        Ok(Response::new(v1::LoginResponse {
            access_token: session.token.expose_secret().to_owned(),
            expire_time: Some(to_timestamp(session.expires_at)),
            user: Some(session.user.into()),
        }))
    }

    async fn logout(
        &self,
        request: Request<v1::LogoutRequest>,
    ) -> Result<Response<v1::LogoutResponse>, Status> {
        self.0.log_out(caller(&request)?.token.expose_secret()).await?;
        Ok(Response::new(v1::LogoutResponse {}))
    }

    async fn who_am_i(
        &self,
        request: Request<v1::WhoAmIRequest>,
    ) -> Result<Response<v1::WhoAmIResponse>, Status> {
        Ok(Response::new(v1::WhoAmIResponse { user: Some(caller(&request)?.user.into()) }))
    }
}

impl From<User> for v1::User {
    fn from(user: User) -> Self {
        let role = match user.role {
            Role::Admin => v1::Role::Admin,
            Role::Reviewer => v1::Role::Reviewer,
            Role::Viewer => v1::Role::Viewer,
        };
        Self { id: user.id.to_string(), username: user.username, role: role.into() }
    }
}
