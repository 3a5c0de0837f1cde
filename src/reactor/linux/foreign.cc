// SPDX-License-Identifier: Apache-2.0
#include "reactor/linux/foreign.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <linux/magic.h>
#include <memory>
#include <pthread.h>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/log.h"

namespace remora::reactor {

namespace {

/// Unmapping takes some 45 ms a GiB of small pages.
constexpr std::size_t kLargeMapping = std::size_t{16} << 20U;

struct Chore {
    int fd = -1;
    void* base = nullptr;
    std::size_t bytes = 0;

    void run() const {
        if (fd >= 0) {
            close(fd);
        } else {
            munmap(base, bytes);
        }
    }
};

std::atomic<int> aside{0};

void* run_aside(void* argument) {
    const std::unique_ptr<const Chore> chore(static_cast<const Chore*>(argument));
    chore->run();
    aside.fetch_sub(1, std::memory_order_relaxed);
    return nullptr;
}

/// False: too many are under way, or the system has no thread to give.
bool start_aside(const Chore& chore) {
    if (aside.fetch_add(1, std::memory_order_relaxed) >= kMostAside) {
        aside.fetch_sub(1, std::memory_order_relaxed);
        return false;
    }
    auto owned = std::make_unique<Chore>(chore);
    // The process's signals are for its other threads.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread{};
    const bool started = pthread_create(&thread, nullptr, run_aside, owned.get()) == 0;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (!started) {
        aside.fetch_sub(1, std::memory_order_relaxed);
        return false;
    }
    static_cast<void>(owned.release());  // the thread's
    pthread_detach(thread);
    return true;
}

}  // namespace

bool is_eventfd(int fd) {
    char name[32] = {};
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    const ssize_t size = readlink(link.c_str(), name, sizeof name - 1);
    return size < 0 ? errno == ENOENT && access("/proc/self/fd", F_OK) != 0
                    : std::string_view(name) == "anon_inode:[eventfd]";
}

core::Result<void> check_is_memory(int fd) {
    constexpr std::uint32_t kXfs = 0x58465342;  // linux/magic.h has it only since 6.8
    constexpr std::array<std::uint32_t, 4> kKinds{TMPFS_MAGIC, HUGETLBFS_MAGIC, EXT4_SUPER_MAGIC,
                                                  kXfs};
    struct stat info{};
    struct statfs system{};
    if (fstat(fd, &info) != 0 || fstatfs(fd, &system) != 0) {
        return core::fail_errno("shared memory", errno);
    }
    const auto kind = static_cast<std::uint32_t>(system.f_type);
    if (S_ISREG(info.st_mode) && std::ranges::find(kKinds, kind) != kKinds.end()) {
        return {};
    }
    std::array<char, 16> text{};
    std::snprintf(text.data(), text.size(), "%#x", kind);
    return core::fail(core::ErrorKind::InvalidArgument,
                      "shared memory is to be a memfd, or a file on tmpfs, hugetlbfs, ext4 or "
                      "xfs; this is " +
                          std::string(S_ISREG(info.st_mode) ? "a file" : "no file") +
                          " on a file system of kind " + text.data());
}

void close_foreign(int fd) {
    const Chore chore{.fd = fd};
    if (check_is_memory(fd) || is_eventfd(fd)) {
        chore.run();
    } else if (!start_aside(chore)) {
        log::warn("a descriptor that a peer sent stays open: too many take their time to close",
                  log::kv("fd", fd));
    }
}

void unmap_foreign(void* base, std::size_t bytes) {
    const Chore chore{.base = base, .bytes = bytes};
    if (bytes < kLargeMapping || !start_aside(chore)) {
        chore.run();
    }
}

}  // namespace remora::reactor
