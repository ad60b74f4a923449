//! The text for a workload's manifest, and how the workload requests a token, for each platform.

use super::platform::Platform;

/// The facts that a workload needs about this issuer.
pub(super) struct Here<'h> {
    pub(super) issuer: &'h str,
    pub(super) audience: &'h str,
    pub(super) client_id: &'h str,
}

/// The text for the workload's manifest, and how it requests a token.
pub(super) fn snippet(platform: Option<Platform>, here: &Here<'_>) -> String {
    let ask = |token: &str| request(here, "jwt-bearer", token);
    let Here { audience, .. } = here;
    match platform {
        Some(Platform::Github) => format!(
            "In the workflow:\n\n\
             permissions:\n  id-token: write\n\
             steps:\n  - run: |\n      JWT=$(curl -sS -H \"Authorization: bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN\" \\\n        \"$ACTIONS_ID_TOKEN_REQUEST_URL&audience={}\" | jq -r .value)\n{}",
            encoded(audience),
            indented(&ask("$JWT"), 6)
        ),
        Some(Platform::Gitlab) => format!(
            "In .gitlab-ci.yml:\n\n\
             job:\n  id_tokens:\n    FIRMAN_JWT:\n      aud: {audience}\n  script:\n    - |\n{}",
            indented(&ask("$FIRMAN_JWT"), 6)
        ),
        Some(Platform::Kubernetes) => format!(
            "In the pod:\n\n\
             spec:\n  volumes:\n    - name: firman\n      projected:\n        sources:\n          - serviceAccountToken:\n              path: token\n              audience: {audience}\n              expirationSeconds: 3600\n  containers:\n    - volumeMounts:\n        - name: firman\n          mountPath: /var/run/secrets/firman\n          readOnly: true\n\n\
             In the container:\n\n{}",
            ask("$(cat /var/run/secrets/firman/token)")
        ),
        Some(Platform::Google) => format!(
            "On the machine:\n\n\
             JWT=$(curl -sS -H 'Metadata-Flavor: Google' \\\n  'http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/identity?audience={}')\n{}",
            encoded(audience),
            ask("$JWT")
        ),
        Some(Platform::Aws) => format!(
            "With the role's credentials:\n\n\
             JWT=$(aws sts get-web-identity-token --audience {audience} --signing-algorithm RS256 \\\n  --duration-seconds 300 --query WebIdentityToken --output text)\n{}",
            ask("$JWT")
        ),
        Some(Platform::Azure) => format!(
            "On the machine:\n\n\
             JWT=$(curl -sS -H 'Metadata: true' \\\n  'http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource={}' | jq -r .access_token)\n{}",
            encoded(audience),
            ask("$JWT")
        ),
        Some(Platform::Spiffe) => format!(
            "Beside the workload API:\n\n\
             JWT=$(spire-agent api fetch jwt -audience {audience} -output json | jq -r '.[0].svids[0].svid')\n{}",
            request(here, "jwt-spiffe", "$JWT")
        ),
        Some(Platform::Firman) => format!(
            "As the agent of the other issuer:\n\n\
             JWT=$(firman token get --issuer OTHER_ISSUER --client-id NAME --key FILE --resource {audience})\n{}",
            ask("$JWT")
        ),
        None => format!(
            "With a token whose audience is {audience}:\n\n{}",
            ask("$JWT")
        ),
    }
}

fn request(here: &Here<'_>, assertion_type: &str, token: &str) -> String {
    format!(
        "curl -sS {}/oauth2/token -d grant_type=client_credentials -d client_id={} \\\n  -d client_assertion_type=urn:ietf:params:oauth:client-assertion-type:{assertion_type} \\\n  --data-urlencode \"client_assertion={token}\"",
        here.issuer, here.client_id
    )
}

fn indented(text: &str, by: usize) -> String {
    let indent = " ".repeat(by);
    text.lines()
        .map(|line| format!("{indent}{line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_asks_for_our_audience_and_names_the_agent() {
        let here = Here {
            issuer: "https://id.example.com",
            audience: "https://id.example.com",
            client_id: "mailer",
        };
        for platform in [
            None,
            Some(Platform::Kubernetes),
            Some(Platform::Github),
            Some(Platform::Gitlab),
            Some(Platform::Google),
            Some(Platform::Aws),
            Some(Platform::Azure),
            Some(Platform::Spiffe),
            Some(Platform::Firman),
        ] {
            let text = snippet(platform, &here);
            assert!(text.contains("id.example.com"), "{text}");
            assert!(text.contains("client_id=mailer"), "{text}");
        }
        insta::assert_snapshot!(snippet(Some(Platform::Github), &here), @r#"
        In the workflow:

        permissions:
          id-token: write
        steps:
          - run: |
              JWT=$(curl -sS -H "Authorization: bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN" \
                "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=https%3A%2F%2Fid.example.com" | jq -r .value)
              curl -sS https://id.example.com/oauth2/token -d grant_type=client_credentials -d client_id=mailer \
                -d client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer \
                --data-urlencode "client_assertion=$JWT"
        "#);
    }
}
