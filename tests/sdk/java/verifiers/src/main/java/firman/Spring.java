package firman;

import org.springframework.security.oauth2.jose.jws.SignatureAlgorithm;
import org.springframework.security.oauth2.jwt.JwtAudienceValidator;
import org.springframework.security.oauth2.jwt.JwtDecoder;
import org.springframework.security.oauth2.jwt.JwtIssuerValidator;
import org.springframework.security.oauth2.jwt.JwtValidators;
import org.springframework.security.oauth2.jwt.NimbusJwtDecoder;

/** Spring Security as a resource server. */
final class Spring {
    /** What Spring Boot makes of `issuer-uri` and `audiences`. */
    static JwtDecoder byIssuer(String issuer, String audience) {
        NimbusJwtDecoder decoder = NimbusJwtDecoder.withIssuerLocation(issuer).build();
        decoder.setJwtValidator(JwtValidators.createDefaultWithValidators(
                new JwtIssuerValidator(issuer), new JwtAudienceValidator(audience)));
        return decoder;
    }

    /** What Spring Boot makes of `jwk-set-uri` and `audiences`: RS256 alone. */
    static JwtDecoder byKeySet(String issuer, String audience) {
        NimbusJwtDecoder decoder = NimbusJwtDecoder.withJwkSetUri(issuer + "/oauth2/jwks").build();
        decoder.setJwtValidator(JwtValidators.createDefaultWithValidators(
                new JwtIssuerValidator(issuer), new JwtAudienceValidator(audience)));
        return decoder;
    }

    /** For tokens as firman makes them when nothing is set: ES256 and `at+jwt`. */
    static JwtDecoder forAccessTokens(String issuer, String audience) {
        NimbusJwtDecoder decoder = NimbusJwtDecoder.withJwkSetUri(issuer + "/oauth2/jwks")
                .jwsAlgorithm(SignatureAlgorithm.ES256)
                .validateType(false) // the validator below does
                .build();
        decoder.setJwtValidator(JwtValidators.createAtJwtValidator()
                .issuer(issuer).audience(audience).clientId("mailer").build());
        return decoder;
    }
}
