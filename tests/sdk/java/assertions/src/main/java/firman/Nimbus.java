package firman;

import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.oauth2.sdk.ClientCredentialsGrant;
import com.nimbusds.oauth2.sdk.Scope;
import com.nimbusds.oauth2.sdk.TokenRequest;
import com.nimbusds.oauth2.sdk.TokenResponse;
import com.nimbusds.oauth2.sdk.auth.PrivateKeyJWT;
import com.nimbusds.oauth2.sdk.id.ClientID;
import java.net.URI;
import java.security.PrivateKey;

/** Nimbus oauth2-oidc-sdk. */
final class Nimbus {
    private Nimbus() {}

    /** As its documentation has it: for the token endpoint. */
    static PrivateKeyJWT byDefault(String clientId, URI tokenEndpoint, PrivateKey privateKey) throws Exception {
        return new PrivateKeyJWT(new ClientID(clientId), tokenEndpoint, JWSAlgorithm.ES256, privateKey, null, null);
    }

    /** For the issuer. */
    static PrivateKeyJWT forIssuer(String clientId, String issuer, PrivateKey privateKey) throws Exception {
        var audience = URI.create(issuer);
        var proof = new PrivateKeyJWT(new ClientID(clientId), audience, JWSAlgorithm.ES256, privateKey, null, null);
        return proof;
    }

    /** The access token, or the description of the refusal. */
    static Answer token(URI tokenEndpoint, PrivateKeyJWT proof) throws Exception {
        var request = new TokenRequest.Builder(tokenEndpoint, proof, new ClientCredentialsGrant())
                .scope(new Scope("read"))
                .build();
        var response = TokenResponse.parse(request.toHTTPRequest().send());
        if (!response.indicatesSuccess()) {
            return new Answer(null, response.toErrorResponse().getErrorObject().getDescription());
        }
        return new Answer(response.toSuccessResponse().getTokens().getAccessToken().getValue(), null);
    }
}
