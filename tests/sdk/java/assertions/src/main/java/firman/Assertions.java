package firman;

import com.nimbusds.jose.jwk.Curve;
import com.nimbusds.jose.jwk.ECKey;
import com.nimbusds.jose.jwk.gen.ECKeyGenerator;
import java.net.URI;

/** Client libraries of Java prove themselves to the real firman, first with their defaults, then with the cure. */
public final class Assertions {
    private int passed;
    private int failed;

    private interface Attempt {
        Answer run() throws Exception;
    }

    /** Runs every check, and exits with 1 when one failed. */
    public static void main(String[] arguments) throws Exception {
        var checks = new Assertions();
        if (System.getenv("FIRMAN_BIN") == null) {
            System.out.println("skipped: FIRMAN_BIN does not name the program");
            System.out.println("0 passed, 0 failed, 1 skipped");
            return;
        }
        try (var firman = new Firman()) {
            firman.run("resource", "add", "api", "--identifier", "https://api.example", "--scope", "read");
            firman.run("role", "add", "reader", "--grant", "api=read");
            checks.nimbus(firman);
            checks.spring(firman);
        }
        System.out.println(checks.passed + " passed, " + checks.failed + " failed, 0 skipped");
        System.exit(checks.failed == 0 ? 0 : 1);
    }

    private void nimbus(Firman firman) throws Exception {
        var key = newKey();
        var endpoint = URI.create(firman.issuer + "/oauth2/token");
        firman.agent("nimbus", key.toECPublicKey());
        Attempt byDefault = () -> Nimbus.token(endpoint, Nimbus.byDefault("nimbus", endpoint, key.toECPrivateKey()));
        Attempt cured = () -> Nimbus.token(endpoint, Nimbus.forIssuer("nimbus", firman.issuer, key.toECPrivateKey()));
        all("Nimbus", "nimbus", firman, byDefault, cured);
    }

    private void spring(Firman firman) throws Exception {
        var key = newKey();
        firman.agent("spring", key.toECPublicKey());
        Attempt byDefault = () -> Spring.token("spring", firman.issuer, Spring.byDefault(key));
        Attempt cured = () -> Spring.token("spring", firman.issuer, Spring.forIssuer(key, firman.issuer));
        all("Spring Security", "spring", firman, byDefault, cured);
    }

    private void all(String library, String agent, Firman firman, Attempt byDefault, Attempt cured) throws Exception {
        check(library + ": the default, for the token endpoint, is refused with the audience to write", byDefault,
                "`aud` must be " + firman.issuer + ", not the token endpoint");
        check(library + ": the line for the issuer is accepted", cured, null);
        firman.run("agent", "edit", agent, "--assertion-audience", "issuer-or-token-endpoint");
        check(library + ": the default is accepted under the agent's setting", byDefault, null);
        firman.run("agent", "edit", agent, "--assertion-audience", "issuer-as-string");
        check(library + ": the line for the issuer writes a string", cured, null);
        firman.run("agent", "edit", agent, "--assertion-audience", "inherit");
        firman.run("issuer", "edit", "--assertion-audience", "issuer-or-token-endpoint");
        check(library + ": the default is accepted under the issuer's setting", byDefault, null);
        firman.run("issuer", "edit", "--assertion-audience", "issuer");
    }

    /** `refusal` null: a token is expected. */
    private void check(String what, Attempt attempt, String refusal) {
        String found;
        try {
            var answer = attempt.run();
            boolean isRight = refusal == null ? answer.token() != null : String.valueOf(answer.refusal()).contains(refusal);
            found = isRight ? null : String.valueOf(answer.refusal());
        } catch (Exception fault) {
            found = fault.toString();
        }
        if (found == null) {
            passed++;
            System.out.println("ok      " + what);
        } else {
            failed++;
            System.out.println("FAILED  " + what + ": " + found);
        }
    }

    private static ECKey newKey() throws Exception {
        return new ECKeyGenerator(Curve.P_256).keyID("java-2026").generate();
    }
}
