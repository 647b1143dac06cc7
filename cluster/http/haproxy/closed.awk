# Rewrites the HAProxy configuration that Serve (Ray 2.60) generates, where Serve has no setting:
#
# - It removes the statistics and metrics pages, which listen at all addresses; nothing here needs them.
# - It opens the admin socket to its owner only, and stops logging requests to syslog.
# - It makes HAProxy's own answers problem documents, like all errors. A request that is not HTTP, or has headers
#   beyond the buffer, gets an answer that cannot be changed (HAProxy 2.8).
# - It removes the Python proxy that stands in while no replica is up: its answers have another form.
# - It ends slow headers, and drops the headers by which a client would control Serve.
# - It passes on the address of each caller, and drops what the caller claims.
# - It looks for replicas at the address where they listen, not always at 127.0.0.1.
#
# Rule: a line that is to be changed and is missing, or an unknown line that listens, is an error: no HAProxy is
# better than an open one.

function fail(text) {
    printf "Serve's configuration of HAProxy is not what Headrace closes: %s. " \
        "Set RAY_SERVE_ENABLE_HA_PROXY=0 to do without HAProxy.\n", text > "/dev/stderr"
    failed = 1
    exit 1
}

/^[a-z]/ { section = $2 == "" ? $1 : $1 " " $2 }

section == "frontend prometheus" || section == "listen stats" { next }

section == "global" && $1 == "log" { logs++; next }

$1 == "stats" && $2 == "socket" {
    sockets++
    if (!sub(/ mode 666 level admin /, " mode 600 level admin ")) fail("the admin socket has no `mode 666`")
}

$1 == "errorfile" { errors++; next }

section == "defaults" && $1 == "defaults" {
    print
    print "    timeout http-request 30s"
    print "    errorfile 400 " here "/400.http"
    split("500 502 503 504", away, " ") # no replica, or one that went away
    for (i = 1; i in away; i++) print "    errorfile " away[i] " " here "/503.http"
    next
}

$1 == "bind" {
    binds++
    if (section != "frontend http_frontend") fail("it listens in `" section "`")
    host = $2
    sub(/:[0-9]+$/, "", host)
    print
    split("^x[-_]request[-_]timeout[-_]seconds$ ^x[-_]request[-_]disconnect[-_]disabled$ " \
        "^x[-_]session[-_]id$ ^serve[-_]multiplexed[-_]model[-_]id$", asked, " ")
    for (i = 1; i in asked; i++) print "    http-request del-header " asked[i] " -m reg"
    print "    http-request set-header x-forwarded-for %[src]" # the API counts callers by it
    print "    http-request del-header x-request-id if !{ req.hdr(x-request-id) -m reg ^[A-Za-z0-9_.:-]{1,128}$ }"
    next
}

section == "backend default_backend" && $1 == "http-request" {
    lost++
    print "    http-request deny deny_status 503"
    next
}

$1 == "server" && / backup$/ { next }

$1 == "server" && host != "*" && host != "localhost" { sub(/ (127\.0\.0\.1|::1):/, " " host ":") }

{ print }

END {
    if (failed) exit 1
    if (sockets != 1) fail("not one admin socket but " sockets + 0)
    if (binds != 1) fail("not one address to listen at but " binds + 0)
    if (errors != 3) fail("not three error files but " errors + 0)
    if (lost != 1) fail("no answer where no application is")
    if (logs < 1) fail("no log in `global`")
}
