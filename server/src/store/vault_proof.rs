use super::{Store, StoreError};

impl Store {
    /// The proof of the key-encryption key; the first caller's is kept.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn vault_proof(&self, fresh: &[u8]) -> Result<Vec<u8>, StoreError> {
        let client = self.client().await?;
        client.execute("INSERT INTO vault (proof) VALUES ($1) ON CONFLICT DO NOTHING", &[&fresh]).await?;
        Ok(client.query_one("SELECT proof FROM vault", &[]).await?.try_get(0)?)
    }
}
