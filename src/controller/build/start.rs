//! Begins a build, and another attempt at one.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::controller::Action;

use super::observation::AttemptRecord;
use super::pod::{Attempt, AttemptError, AttemptInput, mount_secrets};
use super::source::ResolvedSource;
use super::spec_error::{MAX_MIRRORED_IMAGES, SpecError};
use super::wanted::{Wanted, builder_type};
use super::{
    Cause, Error, FOLLOW_PERIOD, NEXT_STEP, Reconciler, because, inputs, isolation, secrets,
};
use crate::api::{BuildStatus, BuildTrigger, BuilderStatus, ImageBuildStatus};
use crate::build::{
    BASE_IMAGES_FILE, BuildFailure, BuildPlan, CONTEXT_DIRECTORY, FailureClass, ImageForm,
    PlannedOutput, SOURCE_DATE_EPOCH_FILE,
};
use crate::builder::{self, Build, BuildContainer, Output};
use crate::controller::events::Severity;
use crate::controller::mirror::InPlace;
use crate::controller::plans::StartError;
use crate::oci::Platform;
use crate::reason::Reason;

impl Reconciler<'_> {
    /// Begins the next build.
    pub(super) async fn begin(
        &self,
        previous: &ImageBuildStatus,
        wanted: &Wanted,
        source: &ResolvedSource,
        inputs_hash: &str,
        trigger: BuildTrigger,
        cause: Cause,
    ) -> Result<Action, Error> {
        let number = previous.build.as_ref().map_or(0, |build| build.number) + 1;
        let build = BuildStatus {
            number,
            attempt: 1,
            trigger: Some(trigger),
            inputs_hash: inputs_hash.to_owned(),
            start_time: Some(Time(self.now)),
            ..BuildStatus::default()
        };
        let mut status = self
            .input(previous)
            .building(&format!("build {number} starts"));
        self.plan_next(&mut status, wanted, cause);
        let started = self.attempt(&mut status, wanted, source, build).await?;
        match started {
            Ok(()) => {
                self.write(&status).await?;
                let message = format!("build {number} starts: {}", because(trigger));
                self.tell(Severity::Normal, Reason::Progressing, message)
                    .await;
                Ok(Action::requeue(FOLLOW_PERIOD))
            }
            Err(NotStarted::Spec(error)) => self.refuse(previous, &error).await,
            Err(NotStarted::Failure(failure)) => {
                self.not_possible(previous, wanted, cause, &failure).await
            }
        }
    }

    /// Tries the build again that the status is about.
    pub(super) async fn retry(&self) -> Result<Action, Error> {
        let previous = self.previous();
        let wanted = match Wanted::new(&self.object.spec) {
            Ok(wanted) => wanted,
            Err(error) => return self.refuse(&previous, &error).await,
        };
        let Some(build) = previous.build.clone() else {
            return Ok(Action::requeue(NEXT_STEP));
        };
        let registries = self.registries(&wanted).await?;
        let source = match self.source(&wanted, &registries).await? {
            Ok(source) => source,
            Err(failure) => {
                return self
                    .not_possible(&previous, &wanted, Cause::Due, &failure)
                    .await;
            }
        };
        let hash = inputs::of(&self.spec_inputs, &source.status, &previous.base_images);
        let build = BuildStatus {
            attempt: build.attempt + 1,
            inputs_hash: hash.to_string(),
            retry_time: None,
            ..build
        };
        let (number, attempt) = (build.number, build.attempt);
        let message = format!("build {number}: attempt {attempt} starts");
        let mut status = self.input(&previous).building(&message);
        match self.attempt(&mut status, &wanted, &source, build).await? {
            Ok(()) => {
                self.write(&status).await?;
                Ok(Action::requeue(FOLLOW_PERIOD))
            }
            Err(NotStarted::Spec(error)) => self.refuse(&previous, &error).await,
            Err(NotStarted::Failure(failure)) => {
                self.not_possible(&previous, &wanted, Cause::Due, &failure)
                    .await
            }
        }
    }

    /// Makes the objects of an attempt, and writes into `status` what it is.
    async fn attempt(
        &self,
        status: &mut ImageBuildStatus,
        wanted: &Wanted,
        source: &ResolvedSource,
        mut build: BuildStatus,
    ) -> Result<Result<(), NotStarted>, Error> {
        if let Some(failure) = secrets::missing(&self.secrets, &self.object).await? {
            return Ok(Err(NotStarted::Failure(failure)));
        }
        let spec = &self.object.spec;
        let context = &self.context;
        let configured = context.builders.images.get(&spec.builder.builder_type);
        let Some(image) = spec.builder.image.as_ref().or(configured) else {
            return Ok(Err(NotStarted::Spec(SpecError::NoBuilderImage)));
        };
        let scanner = context.builders.scanner.as_deref();
        if spec.attest.sbom && scanner.is_none() {
            return Ok(Err(NotStarted::Spec(SpecError::NoScannerImage)));
        }
        let scanner = scanner.filter(|_| spec.attest.sbom);
        let in_place = self.in_place().await?;
        let count = in_place.as_ref().map_or(0, |found| found.images.count());
        if count > MAX_MIRRORED_IMAGES {
            return Ok(Err(NotStarted::Spec(SpecError::TooManyMirrored { count })));
        }
        let isolation = context
            .user_namespaces
            .choose(spec.builder.isolation, self.now);
        let builder = BuilderStatus {
            builder_type: spec.builder.builder_type,
            isolation: isolation::shown(isolation),
            image: image.clone(),
        };
        let record = AttemptRecord {
            build: build.clone(),
            source: Some(source.status.clone()),
            builder: Some(builder.clone()),
        };
        let mut pod = String::new();
        // The last one is the first one's: the pod that the status names.
        for platform in wanted.platforms.iter().rev() {
            let choice = Choice {
                isolation,
                image,
                scanner,
                platform,
                in_place: in_place.as_ref(),
            };
            let objects = self.objects(wanted, source, &record, &choice);
            let attempt = match objects {
                Ok(Ok(attempt)) => attempt,
                Ok(Err(AttemptError::Pack(error))) => return Err(error.into()),
                Ok(Err(AttemptError::NotStored)) => return Ok(Ok(())),
                Err(error) => return Ok(Err(NotStarted::Spec(error))),
            };
            if let Err(failure) = Box::pin(self.create(&attempt)).await? {
                return Ok(Err(NotStarted::Failure(failure)));
            }
            pod = attempt.name();
        }
        build.pod = pod;
        status.source = Some(source.status.clone());
        status.builder = Some(builder);
        status.build = Some(build);
        Ok(Ok(()))
    }

    /// The objects of an attempt.
    fn objects(
        &self,
        wanted: &Wanted,
        source: &ResolvedSource,
        record: &AttemptRecord,
        choice: &Choice<'_>,
    ) -> Result<Result<Attempt, AttemptError>, SpecError> {
        let builder = builder_type(self.object.spec.builder.builder_type).builder();
        let described = self.described(wanted, choice);
        let container = builder.container(&described).map_err(SpecError::Refused)?;
        let build = &record.build;
        let plan = self.plan(wanted, source, build.number, &container, choice)?;
        let worker = &self.context.worker;
        Ok(Attempt::new(&AttemptInput {
            object: &self.object,
            plan: &plan,
            files: &source.files,
            number: build.number,
            attempt: build.attempt,
            platform: choice.platform,
            platforms: &wanted.platforms,
            record: serde_json::to_string(record).unwrap_or_default(),
            started_for: self.started_for.as_str(),
            timeout: wanted.timeout,
            container: &container,
            builder_image: choice.image,
            scanner_image: choice.scanner,
            image: &worker.image,
            pull_policy: &worker.pull_policy,
        }))
    }

    async fn create(&self, attempt: &Attempt) -> Result<Result<(), BuildFailure>, Error> {
        let refused = |reason, message| {
            Ok(Err(BuildFailure {
                class: FailureClass::Infrastructure,
                reason,
                message,
            }))
        };
        match self.attempts.start(attempt, &self.uid).await {
            Ok(()) => Ok(Ok(())),
            Err(error @ StartError::NameTaken { .. }) => {
                refused(Reason::PodRefused, error.to_string())
            }
            Err(StartError::Request(error)) => match error.refusal() {
                Some(refusal) => refused(
                    Reason::PodRefused,
                    format!("the API server refused the pod of the build: {refusal}"),
                ),
                None => Err(error.into()),
            },
        }
    }

    fn plan(
        &self,
        wanted: &Wanted,
        source: &ResolvedSource,
        number: i64,
        container: &BuildContainer,
        choice: &Choice<'_>,
    ) -> Result<BuildPlan, SpecError> {
        let output = &self.object.spec.output;
        let mut tags = self.tags(&source.status, number)?;
        if wanted.platforms.len() > 1 {
            // They belong to the index, which is made when all of its images are there.
            tags.clear();
        }
        Ok(BuildPlan {
            version: BuildPlan::VERSION,
            source: source.planned.clone(),
            dockerfile: Some(wanted.dockerfile.clone()),
            arguments: self
                .object
                .spec
                .build_args
                .iter()
                .map(|argument| (argument.name.clone(), argument.value.clone()))
                .collect(),
            mirrored: choice.in_place.map(|found| found.images.clone()),
            output: PlannedOutput {
                registry: wanted.output.registry().clone(),
                repository: wanted.output.repository().clone(),
                tags,
                access: wanted.output_access.clone(),
                conversion: wanted.conversion,
                annotations: output.annotations.clone(),
                sbom: choice.scanner.is_some(),
                image: match container.output {
                    Output::Layout(_) => ImageForm::Layout,
                    Output::Archive(_) => ImageForm::Archive,
                },
            },
        })
    }

    /// The build as builders are told of it.
    fn described(&self, wanted: &Wanted, choice: &Choice<'_>) -> Build {
        let spec = &self.object.spec;
        let arguments = spec
            .build_args
            .iter()
            .map(|argument| builder::BuildArgument {
                name: argument.name.clone(),
                value: argument.value.clone(),
            });
        let dockerfile = wanted.dockerfile.to_string();
        let platform = choice.platform;
        let mut build = Build::new(
            CONTEXT_DIRECTORY,
            &dockerfile,
            platform.clone(),
            choice.isolation,
        );
        if let Some(in_place) = choice.in_place {
            build.base_images = Some(BASE_IMAGES_FILE.to_owned());
            build.insecure_registries = in_place.insecure.iter().cloned().collect();
        }
        build.cache = wanted.cache.as_ref().and_then(|cache| {
            let tag = platform.to_string().replace('/', "-").parse().ok()?;
            Some(cache.with_tag(tag))
        });
        build.target.clone_from(&spec.target);
        build.arguments = arguments.collect();
        build.source_date_epoch = Some(SOURCE_DATE_EPOCH_FILE.to_owned());
        build.seccomp = self.context.builders.seccomp.clone();
        mount_secrets(spec, &mut build);
        build
    }
}

/// What was chosen for the pod of one platform.
struct Choice<'a> {
    isolation: builder::Isolation,
    /// The image of the builder.
    image: &'a str,
    /// That of the scanner, if there is something to scan.
    scanner: Option<&'a str>,
    platform: &'a Platform,
    /// Where base images are to come from, if not from where the Dockerfile says.
    in_place: Option<&'a InPlace>,
}

/// Why an attempt was not started.
enum NotStarted {
    Spec(SpecError),
    Failure(BuildFailure),
}
