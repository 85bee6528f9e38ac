//! Wherever the operator is killed, a build ends where it would have ended undisturbed.

#[tokio::test]
async fn wherever_the_operator_is_killed_a_build_ends_where_it_would_have() {
    crate::crash::play_builds().await;
}
