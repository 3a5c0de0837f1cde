// SPDX-License-Identifier: Apache-2.0
#include "apps/successor.h"

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unistd.h>

#include "reactor/linux/foreign.h"
#include "reactor/linux/inherited.h"

namespace remora::apps {

namespace {

constexpr const char* kVariable = "REMORA_HANDOVER";

}  // namespace

core::Result<control::Handover> inherited_handover() {
    const char* text = std::getenv(kVariable);  // NOLINT(concurrency-mt-unsafe): no threads yet
    if (text == nullptr) {
        return control::Handover{};
    }
    reactor::Handle handle = reactor::kNoHandle;
    std::from_chars(text, text + std::strlen(text), handle);
    unsetenv(kVariable);  // NOLINT(concurrency-mt-unsafe): the same
    const auto bytes = reactor::take_bytes(handle);
    if (!bytes) {
        return std::unexpected(bytes.error());
    }
    auto handover = control::decode_handover(*bytes);
    if (handover) {
        for (const reactor::Handle kept : control::handles_of(*handover)) {
            (void)reactor::set_inherited(kept, false);
        }
    }
    return handover;
}

core::Result<void> check_successor(char** argv) {
    // A name without a slash is looked for in PATH.
    if (std::strchr(argv[0], '/') != nullptr && access(argv[0], X_OK) != 0) {
        return core::fail(core::ErrorKind::FailedPrecondition,
                          std::string(argv[0]) + ": " + std::string(core::errno_text(errno)));
    }
    // The next image comes only when all threads of this one have ended.
    if (const std::size_t closes = reactor::closes_under_way(); closes > 0) {
        return core::fail(core::ErrorKind::FailedPrecondition,
                          std::to_string(closes) +
                              " descriptors that clients sent are still being closed, which their "
                              "owners hold up; try again, or restart");
    }
    return {};
}

core::Error become_successor(char** argv, const control::Handover& handover) {
    for (const reactor::Handle kept : control::handles_of(handover)) {
        if (auto set = reactor::set_inherited(kept, true); !set) {
            return set.error();
        }
    }
    const auto bytes = reactor::leave_bytes(control::encode_handover(handover));
    if (!bytes) {
        return bytes.error();
    }
    // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody reads the environment any more
    setenv(kVariable, std::to_string(*bytes).c_str(), 1);
    execvp(argv[0], argv);
    return {core::ErrorKind::Internal,
            std::string("starting ") + argv[0] + ": " + std::string(core::errno_text(errno))};
}

}  // namespace remora::apps
