use std::sync::Arc;

use cavs_net::{Peer, Refusals};
use cavs_proto::{status_of, to_timestamp, v1};
use secrecy::ExposeSecret;
use tonic::{Request, Response, Status};

use super::convert::account;
use crate::{
    biometrics::Keys,
    error::ServiceError,
    people::{Accounts, Credentials, Sites, User},
};

pub(super) struct AuthApi {
    accounts: Accounts,
    sites: Sites,
    keys: Arc<Keys>,
    refusals: Arc<Refusals>,
}

impl AuthApi {
    pub(super) fn new(accounts: Accounts, sites: Sites, keys: Arc<Keys>, refusals: Arc<Refusals>) -> Self {
        Self { accounts, sites, keys, refusals }
    }

    async fn sites_of(&self, user: &User) -> Result<Vec<v1::Site>, ServiceError> {
        Ok(self.sites.named_with(user).await?.into_iter().map(Into::into).collect())
    }

    /// Says that a login failed: whose, by a pseudonym that is the same each time.
    fn say_refused(&self, peer: Option<&Peer>, username: &str, refused: &ServiceError) {
        let Some(peer) = peer else { return };
        let (name, reason) = (self.keys.pseudonym(username), refused.reason().as_str());
        self.refusals.log(peer.address, reason, Some(&name), "a login failed");
    }
}

#[tonic::async_trait]
impl v1::auth_service_server::AuthService for AuthApi {
    async fn login(&self, request: Request<v1::LoginRequest>) -> Result<Response<v1::LoginResponse>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let v1::LoginRequest { username, password } = request.into_inner();
        let credentials = Credentials::new(&username, password).map_err(status_of)?;
        let session = self.accounts.log_in(credentials).await;
        let session = session.inspect_err(|refused| self.say_refused(peer.as_ref(), &username, refused))?;
        Ok(Response::new(v1::LoginResponse {
            access_token: session.token.expose_secret().to_owned(),
            expire_time: Some(to_timestamp(session.expires_at)),
            sites: self.sites_of(&session.user).await?,
            user: Some(session.user.into()),
        }))
    }

    async fn logout(
        &self,
        request: Request<v1::LogoutRequest>,
    ) -> Result<Response<v1::LogoutResponse>, Status> {
        self.accounts.log_out(account(&request)?.token.expose_secret()).await?;
        Ok(Response::new(v1::LogoutResponse {}))
    }

    async fn who_am_i(
        &self,
        request: Request<v1::WhoAmIRequest>,
    ) -> Result<Response<v1::WhoAmIResponse>, Status> {
        let user = account(&request)?.user;
        let sites = self.sites_of(&user).await?;
        Ok(Response::new(v1::WhoAmIResponse { user: Some(user.into()), sites }))
    }
}

impl From<User> for v1::User {
    fn from(user: User) -> Self {
        Self { id: user.id.to_string(), username: user.username, operator: user.is_operator }
    }
}
