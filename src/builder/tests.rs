//! What holds for every builder.

use k8s_openapi::api::core::v1::SecurityContext;
use proptest::prelude::*;
use rstest::rstest;

use super::fixture::{
    BUILDERS, argument, arguments, cached, container, expand, large, secret, security, small,
    variable,
};
use super::{BuilderType, Isolation, Refusal, SeccompFilter};

const BOTH: [Isolation; 2] = [Isolation::UserNamespace, Isolation::Rootless];

#[test]
fn no_builder_is_privileged_or_has_more_than_it_needs() {
    let allowed = [
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "SETFCAP",
        "SETGID",
        "SETUID",
    ];
    for builder in BUILDERS {
        for isolation in BOTH {
            let built = container(builder, &large(isolation));
            let security = security(&built.container);
            assert_eq!(security.privileged, None);
            assert_eq!(security.proc_mount, None);
            let capabilities = security.capabilities.as_ref().unwrap();
            assert_eq!(capabilities.drop, Some(vec!["ALL".to_owned()]));
            for added in capabilities.add.as_ref().unwrap() {
                assert!(allowed.contains(&added.as_str()), "{builder:?} {added}");
            }
            assert_eq!(
                built.host_users == Some(false),
                isolation == Isolation::UserNamespace
            );
        }
    }
}

#[test]
fn only_buildah_has_no_cache() {
    for builder in BUILDERS {
        let refusal = builder
            .builder()
            .container(&cached(Isolation::Rootless))
            .err();
        let expected = (builder == BuilderType::Buildah).then_some(Refusal::CacheUnsupported);
        assert_eq!(refusal, expected, "{builder:?}");
    }
}

#[test]
fn only_builders_with_a_script_can_be_told_where_base_images_are() {
    for builder in BUILDERS {
        let mut build = small(Isolation::Rootless);
        build.base_images = Some("/transship/base-images".to_owned());
        let refusal = builder.builder().container(&build).err();
        let is_able = matches!(builder, BuilderType::BuildKit | BuilderType::Buildah);
        let expected = (!is_able).then_some(Refusal::RedirectionUnsupported);
        assert_eq!(refusal, expected, "{builder:?}");
    }
}

#[test]
fn root_of_the_node_is_nobody_but_kaniko() {
    for builder in BUILDERS {
        let built = container(builder, &small(Isolation::Rootless));
        let root = security(&built.container).run_as_user == Some(0);
        assert_eq!(root, builder == BuilderType::Kaniko, "{builder:?}");
        assert_eq!(security(&built.container).run_as_non_root, Some(!root));
    }
}

#[test]
fn only_builders_that_mount_have_the_filter_of_the_configuration() {
    let filters = [
        (SeccompFilter::Unset, None),
        (SeccompFilter::Unconfined, Some(("Unconfined", None))),
        (
            SeccompFilter::Localhost("profiles/build.json".to_owned()),
            Some(("Localhost", Some("profiles/build.json"))),
        ),
    ];
    for (filter, expected) in filters {
        for builder in BUILDERS {
            let mut build = small(Isolation::Rootless);
            build.seccomp = filter.clone();
            let made = container(builder, &build);
            let profile = security(&made.container).seccomp_profile.as_ref();
            let profile = profile
                .map(|profile| (profile.type_.as_str(), profile.localhost_profile.as_deref()));
            let expected = if builder == BuilderType::Kaniko {
                Some(("RuntimeDefault", None))
            } else {
                expected
            };
            assert_eq!(profile, expected, "{builder:?}");
        }
    }
}

#[test]
fn authorities_and_credentials_are_found_by_their_variables() {
    for builder in BUILDERS {
        let built = container(builder, &large(Isolation::Rootless)).container;
        assert_eq!(
            variable(&built, "SSL_CERT_FILE").unwrap(),
            "/transship/authorities/ca.crt"
        );
        assert_eq!(
            variable(&built, "DOCKER_CONFIG").unwrap(),
            "/transship/credentials"
        );
        let built = container(builder, &small(Isolation::Rootless)).container;
        assert_eq!(variable(&built, "SSL_CERT_FILE"), None);
        assert_eq!(variable(&built, "DOCKER_CONFIG"), None);
    }
}

#[test]
fn every_volume_is_mounted_once() {
    for builder in BUILDERS {
        let built = container(builder, &small(Isolation::Rootless));
        let mounts = built.container.volume_mounts.unwrap();
        let mounted: Vec<_> = mounts.iter().map(|mount| &mount.name).collect();
        let volumes: Vec<_> = built.volumes.iter().map(|volume| &volume.name).collect();
        assert_eq!(mounted, volumes);
        assert!(mounts.iter().any(|mount| {
            mount.name == super::OUTPUT_VOLUME && mount.mount_path == super::OUTPUT_DIRECTORY
        }));
        assert!(
            built
                .volumes
                .iter()
                .all(|volume| volume.empty_dir.is_some())
        );
    }
}

#[rstest]
#[case("")]
#[case("A=B")]
fn an_argument_that_is_not_told_from_its_value_is_refused(#[case] name: &str) {
    for builder in BUILDERS {
        let mut build = small(Isolation::Rootless);
        build.arguments.push(argument(name, "1"));
        let refusal = builder.builder().container(&build).unwrap_err();
        assert_eq!(refusal, Refusal::BuildArgumentInvalid);
        assert_eq!(refusal.reason(), "BuildArgumentInvalid");
    }
}

#[rstest]
#[case("")]
#[case("npm,src=/etc/shadow")]
#[case("a b")]
fn a_secret_that_would_be_two_settings_is_refused(#[case] id: &str) {
    for builder in BUILDERS {
        let mut build = small(Isolation::Rootless);
        build.secrets.push(secret(id));
        let refusal = builder.builder().container(&build).unwrap_err();
        assert_eq!(refusal, Refusal::SecretIdInvalid);
    }
}

proptest! {
    /// Whatever people choose arrives as it is: no word of it is taken for a flag, split, or replaced by Kubernetes,
    /// and none of it is in the script.
    #[test]
    fn what_people_chose_arrives_whole(text in ".{0,40}", name in "[A-Z-][A-Za-z_-]{0,8}") {
        for builder in BUILDERS {
            let mut build = small(Isolation::Rootless);
            let plain = container(builder, &build);
            build.arguments.push(argument(&name, &text));
            build.target = Some(text.clone());
            let made = container(builder, &build);
            prop_assert_eq!(&made.container.command, &plain.container.command);

            let before = arguments(&plain.container);
            let added: Vec<_> = arguments(&made.container)
                .into_iter()
                .filter(|word| !before.contains(word))
                .collect();
            let (opt, value) = match builder {
                BuilderType::BuildKit => ("--opt=target=", "--opt=build-arg:"),
                _ => ("--target=", "--build-arg="),
            };
            prop_assert_eq!(added, vec![format!("{opt}{text}"), format!("{value}{name}={text}")]);
        }
    }

    #[test]
    fn kubernetes_replaces_nothing_in_a_script(text in "[$()a-z]{0,20}") {
        let command = super::container::Command::script(&text, vec![text.clone()]);
        let built = super::container::container(command, SecurityContext::default(), &[]);
        prop_assert_eq!(expand(&built.command.unwrap()[2]), text.clone());
        prop_assert_eq!(expand(&built.args.unwrap()[0]), text);
    }
}
