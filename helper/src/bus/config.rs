//! What is asked about a container's config, and of it.

use zbus::message::Header;

use super::{
    Bus,
    admission::Risk,
    authorization::Details,
    error::{Result, from_engine},
    operations::Target,
    options::{Dictionary, Options},
    requests::fitting,
};

impl Bus {
    pub(super) async fn get_config(
        &self,
        header: &Header<'_>,
        target: Target,
    ) -> Result<(String, u64)> {
        let admitted = self.admit(header, target, Ok(()), |()| Risk::None).await?;
        Ok(self.engine.config_text(&admitted.id).await?)
    }

    pub(super) async fn set_config(
        &self,
        header: &Header<'_>,
        target: Target,
        text: String,
        revision: u64,
        options: Dictionary,
    ) -> Result<()> {
        let request = Options::none(options)
            .and_then(|()| fitting([&text]))
            .map(|()| text);
        let risk = |text: &String| Risk::Config(text.clone());
        let admitted = self.admit(header, target, request, risk).await?;
        Ok(self
            .engine
            .set_config(&admitted.id, &admitted.request, revision)
            .await?)
    }

    pub(super) async fn get_config_item(
        &self,
        header: &Header<'_>,
        target: Target,
        key: &str,
    ) -> Result<Vec<String>> {
        let admitted = self.admit(header, target, Ok(()), |()| Risk::None).await?;
        Ok(self.engine.config_item(&admitted.id, key).await?)
    }

    pub(super) async fn set_config_item(
        &self,
        header: &Header<'_>,
        target: Target,
        key: String,
        values: Vec<String>,
        options: Dictionary,
    ) -> Result<()> {
        let request = Options::none(options)
            .and_then(|()| fitting(&values))
            .map(|()| (key, values));
        let risk = |(key, values): &(String, Vec<String>)| Risk::Item(key.clone(), values.clone());
        let admitted = self.admit(header, target, request, risk).await?;
        let (key, values) = &admitted.request;
        Ok(self
            .engine
            .set_config_item(&admitted.id, key, values)
            .await?)
    }

    pub(super) async fn convert_config(
        &self,
        header: &Header<'_>,
        target: Target,
        options: Dictionary,
    ) -> Result<Vec<String>> {
        let request = Options::read(options, |options| {
            Ok((options.take::<u64>("revision")?, options.flag("dry_run")?))
        });
        // It means what it meant, or is not written.
        let admitted = self.admit(header, target, request, |_| Risk::None).await?;
        let (revision, dry_run) = admitted.request;
        Ok(self
            .engine
            .convert_config(&admitted.id, revision, dry_run)
            .await?)
    }

    pub(super) async fn set_defaults(
        &self,
        header: &Header<'_>,
        text: String,
        revision: u64,
        options: Dictionary,
    ) -> Result<()> {
        let caller = self.callers.identify(header).await?;
        let flags = match Options::none(options).and_then(|()| fitting([&text])) {
            Ok(()) => self
                .engine
                .unsafe_defaults(&text)
                .await
                .map_err(from_engine),
            Err(error) => Err(error),
        };
        let details = Details::default().flagged(flags.clone().unwrap_or_default());
        self.authority
            .permit(&caller, header, flags, &details)
            .await?;
        Ok(self.engine.set_defaults(&text, revision).await?)
    }
}
