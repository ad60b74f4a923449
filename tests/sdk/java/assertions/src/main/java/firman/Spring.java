package firman;

import com.nimbusds.jose.jwk.ECKey;
import java.util.List;
import org.springframework.security.oauth2.client.endpoint.NimbusJwtClientAuthenticationParametersConverter;
import org.springframework.security.oauth2.client.endpoint.OAuth2ClientCredentialsGrantRequest;
import org.springframework.security.oauth2.client.endpoint.RestClientClientCredentialsTokenResponseClient;
import org.springframework.security.oauth2.client.registration.ClientRegistration;
import org.springframework.security.oauth2.core.AuthorizationGrantType;
import org.springframework.security.oauth2.core.ClientAuthenticationMethod;
import org.springframework.security.oauth2.core.OAuth2AuthorizationException;

/** Spring Security's OAuth 2.0 client. */
final class Spring {
    private Spring() {}

    /** As its documentation has it: for the token endpoint. */
    static NimbusJwtClientAuthenticationParametersConverter<OAuth2ClientCredentialsGrantRequest> byDefault(ECKey key) {
        return new NimbusJwtClientAuthenticationParametersConverter<>((registration) -> key);
    }

    /** For the issuer. */
    static NimbusJwtClientAuthenticationParametersConverter<OAuth2ClientCredentialsGrantRequest> forIssuer(
            ECKey key, String issuer) {
        var converter = byDefault(key);
        converter.setJwtClientAssertionCustomizer((context) -> context.getClaims().audience(List.of(issuer)));
        return converter;
    }

    /** The access token, or the description of the refusal. */
    static Answer token(
            String clientId,
            String issuer,
            NimbusJwtClientAuthenticationParametersConverter<OAuth2ClientCredentialsGrantRequest> converter) {
        var registration = ClientRegistration.withRegistrationId("firman")
                .clientId(clientId)
                .clientAuthenticationMethod(ClientAuthenticationMethod.PRIVATE_KEY_JWT)
                .authorizationGrantType(AuthorizationGrantType.CLIENT_CREDENTIALS)
                .tokenUri(issuer + "/oauth2/token")
                .scope("read")
                .build();
        var client = new RestClientClientCredentialsTokenResponseClient();
        client.addParametersConverter(converter);
        try {
            var response = client.getTokenResponse(new OAuth2ClientCredentialsGrantRequest(registration));
            return new Answer(response.getAccessToken().getTokenValue(), null);
        } catch (OAuth2AuthorizationException refused) {
            return new Answer(null, refused.getError().getDescription());
        }
    }
}
