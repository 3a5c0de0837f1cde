// SPDX-License-Identifier: Apache-2.0
#include "reactor/linux/inherited.h"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace remora::reactor {

namespace {

std::unexpected<core::Error> failed(const std::string& what) {
    return core::fail(core::ErrorKind::Internal,
                      what + ": " + std::string(core::errno_text(errno)));
}

}  // namespace

core::Result<Handle> leave_bytes(std::string_view bytes) {
    const int fd = memfd_create("inherited", 0);
    if (fd < 0) {
        return failed("memory for the next program");
    }
    while (!bytes.empty()) {
        const ssize_t put = write(fd, bytes.data(), bytes.size());
        if (put <= 0) {
            auto error = failed("memory for the next program");
            close(fd);
            return error;
        }
        bytes.remove_prefix(static_cast<std::size_t>(put));
    }
    return fd;
}

core::Result<std::string> take_bytes(Handle handle) {
    std::string bytes;
    std::array<char, 65536> part{};
    ssize_t got = 0;
    do {
        got = pread(handle, part.data(), part.size(), static_cast<off_t>(bytes.size()));
        bytes.append(part.data(), got > 0 ? static_cast<std::size_t>(got) : 0U);
    } while (got > 0);
    if (got < 0) {
        return failed("reading what the program before left");
    }
    close(handle);
    return bytes;
}

core::Result<void> set_inherited(Handle handle, bool inherited) {
    if (fcntl(handle, F_SETFD, inherited ? 0 : FD_CLOEXEC) != 0) {
        return failed("descriptor " + std::to_string(handle));
    }
    return {};
}

}  // namespace remora::reactor
