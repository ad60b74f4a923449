package firman;

/** A token, or what a refusal says. */
record Answer(String token, String refusal) {}
