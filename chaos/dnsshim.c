/*
 * A resolver that fails for `localhost` while a file exists (DNSSHIM_FAILS): preloaded into the product's programs by
 * chaos/preload.py. Everything else resolves as ever.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        dlsym(RTLD_NEXT, "getaddrinfo");
    const char *file = getenv("DNSSHIM_FAILS");
    if (file && name && strcmp(name, "localhost") == 0 && access(file, F_OK) == 0)
        return EAI_AGAIN;
    return real(name, service, hints, found);
}
