package firman;

import io.smallrye.jwt.algorithm.SignatureAlgorithm;
import io.smallrye.jwt.auth.principal.DefaultJWTParser;
import io.smallrye.jwt.auth.principal.JWTAuthContextInfo;
import io.smallrye.jwt.auth.principal.JWTParser;
import java.io.IOException;
import java.util.Properties;
import java.util.Set;

/** smallrye-jwt, which verifies tokens for Quarkus. */
final class SmallRye {
    /** A parser that is set up as Quarkus does it, by the properties of a resource. */
    static JWTParser by(String resource, String issuer) throws IOException {
        var properties = new Properties();
        try (var file = SmallRye.class.getResourceAsStream(resource)) {
            properties.load(file);
        }
        properties.replaceAll((name, value) -> String.valueOf(value).replace("${FIRMAN_ISSUER}", issuer));
        var info = new JWTAuthContextInfo(
                properties.getProperty("mp.jwt.verify.publickey.location"), properties.getProperty("mp.jwt.verify.issuer"));
        info.setExpectedAudience(Set.of(properties.getProperty("mp.jwt.verify.audiences")));
        var algorithm = properties.getProperty("mp.jwt.verify.publickey.algorithm");
        if (algorithm != null) {
            info.setSignatureAlgorithm(Set.of(SignatureAlgorithm.fromAlgorithm(algorithm)));
        }
        return new DefaultJWTParser(info);
    }
}
