package firman;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;
import org.springframework.security.oauth2.client.registration.ClientRegistrations;

/** Verifiers of Java take tokens of the real firman or refuse them, first as they come, then with the cure. */
public final class Verifiers {
    private static final String AUDIENCE = "https://api.example.com";
    /** How a resource can have its tokens, and the options that make it so. */
    private static final Map<String, String[]> SETTINGS = Map.of(
            "ES256 at+jwt", new String[] {"--algorithm", "ES256", "--typ", "at+jwt"},
            "ES256 JWT", new String[] {"--algorithm", "ES256", "--typ", "JWT"},
            "RS256 at+jwt", new String[] {"--algorithm", "RS256", "--typ", "at+jwt"},
            "RS256 JWT", new String[] {"--algorithm", "RS256", "--typ", "JWT"});

    private final Map<String, String> tokens = new TreeMap<>();
    private int passed;
    private int failed;

    private interface Verifier {
        void verify(String token) throws Exception;
    }

    /** Runs every check, and exits with 1 when one failed. */
    public static void main(String[] arguments) throws Exception {
        if (System.getenv("FIRMAN_BIN") == null) {
            System.out.println("skipped: FIRMAN_BIN does not name the program");
            System.out.println("0 passed, 0 failed, 1 skipped");
            return;
        }
        var checks = new Verifiers();
        try (var firman = new Firman()) {
            checks.issue(firman);
            checks.run(firman.issuer);
        }
        System.out.println(checks.passed + " passed, " + checks.failed + " failed, 0 skipped");
        System.exit(checks.failed == 0 ? 0 : 1);
    }

    /** One token for each way in which a resource can have them, and one for another resource. */
    private void issue(Firman firman) throws Exception {
        firman.run("resource", "add", "api", "--identifier", AUDIENCE, "--scope", "read");
        firman.run("resource", "add", "other", "--identifier", "urn:other", "--algorithm", "RS256", "--typ", "JWT");
        firman.run("role", "add", "reader", "--grant", "api", "--grant", "other");
        var added = firman.run("agent", "add", "mailer", "--owner", "team", "--role", "reader", "--secret", "--output", "json");
        var secret = added.replaceAll("(?s).*\"client_secret\": *\"([^\"]+)\".*", "$1");
        for (var setting : SETTINGS.entrySet()) {
            var edit = new String[] {"resource", "edit", "api", "", "", "", ""};
            System.arraycopy(setting.getValue(), 0, edit, 3, 4);
            firman.run(edit);
            tokens.put(setting.getKey(), Token.fetch(firman.issuer, "mailer", secret, AUDIENCE));
        }
        tokens.put("another audience", Token.fetch(firman.issuer, "mailer", secret, "urn:other"));
        firman.run("resource", "edit", "other", "--algorithm", "ES256", "--typ", "at+jwt");
        tokens.put("another audience, at+jwt", Token.fetch(firman.issuer, "mailer", secret, "urn:other"));
    }

    private void run(String issuer) throws Exception {
        var verifiers = new LinkedHashMap<String, Verifier>();
        verifiers.put("Spring Security, withIssuerLocation", Spring.byIssuer(issuer, AUDIENCE)::decode);
        verifiers.put("Spring Security, withJwkSetUri", Spring.byKeySet(issuer, AUDIENCE)::decode);
        verifiers.put("Spring Security, createAtJwtValidator", Spring.forAccessTokens(issuer, AUDIENCE)::decode);
        var nimbus = Nimbus.byDefault(issuer, AUDIENCE);
        verifiers.put("Nimbus", token -> nimbus.process(token, null));
        var typed = Nimbus.forAccessTokens(issuer, AUDIENCE);
        verifiers.put("Nimbus, DefaultJOSEObjectTypeVerifier", token -> typed.process(token, null));
        verifiers.put("Quarkus (smallrye-jwt)", SmallRye.by("quarkus.properties", issuer)::parse);
        verifiers.put("Quarkus (smallrye-jwt), ES256", SmallRye.by("quarkus-es256.properties", issuer)::parse);
        for (var verifier : verifiers.entrySet()) {
            judge(verifier.getKey(), verifier.getValue());
        }
        // Not a verifier: Spring as a client, which reads the whole of the discovery document.
        var endpoint = ClientRegistrations.fromIssuerLocation(issuer).registrationId("firman").clientId("mailer").build()
                .getProviderDetails().getTokenUri();
        check("Spring Security, ClientRegistrations.fromIssuerLocation", endpoint, issuer + "/oauth2/token");
    }

    private void judge(String name, Verifier verifier) {
        var accepted = new StringBuilder();
        for (var token : tokens.entrySet()) {
            try {
                verifier.verify(token.getValue());
                accepted.append(token.getKey()).append("; ");
            } catch (Exception refusal) {
                System.out.println("        " + name + " refuses " + token.getKey() + ": " + refusal.getMessage());
            }
        }
        check(name, accepted.toString(), EXPECTED.get(name));
    }

    /** What each accepts. */
    private static final Map<String, String> EXPECTED = Map.of(
            "Spring Security, withIssuerLocation", "ES256 JWT; RS256 JWT; ",
            "Spring Security, withJwkSetUri", "RS256 JWT; ",
            "Spring Security, createAtJwtValidator", "ES256 at+jwt; ",
            "Nimbus", "ES256 JWT; RS256 JWT; ",
            "Nimbus, DefaultJOSEObjectTypeVerifier", "ES256 at+jwt; RS256 at+jwt; ",
            "Quarkus (smallrye-jwt)", "RS256 JWT; RS256 at+jwt; ",
            "Quarkus (smallrye-jwt), ES256", "ES256 JWT; ES256 at+jwt; ");

    private void check(String what, String found, String expected) {
        if (found.equals(expected)) {
            passed++;
            System.out.println("ok      " + what + ": " + found);
        } else {
            failed++;
            System.out.println("FAILED  " + what + ": " + found + " instead of " + expected);
        }
    }
}
