// SPDX-License-Identifier: Apache-2.0
#include "reactor/linux/shared_memory.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <fcntl.h>
#include <mutex>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "reactor/linux/foreign.h"

namespace remora::reactor {

namespace {

// A peer may truncate the file behind a mapping; touching the lost pages raises SIGBUS. The
// handler puts zeros there, in place of the whole mapping, and marks it, so that only that peer's
// session suffers: page by page the process would run out of mappings. The table is read in the
// handler, so it holds nothing but atomics.
struct GuardSlot {
    std::atomic<std::uintptr_t> begin{0};
    std::atomic<std::uintptr_t> end{0};
    std::atomic<bool> poisoned{false};
};

/// More than all sessions may have together: 64 host functions, two front ends each, with 64
/// regions and what goes with their queues. So none can use up those of others.
constexpr std::size_t kMaxMappings = 16384;
std::array<GuardSlot, kMaxMappings> guard_slots;
std::mutex guard_mutex;  // taken to claim and free slots, at session set-up only

constexpr std::uintptr_t kPage = 4096;

/// Zeros at `address` if it belongs to a guarded mapping, which is poisoned then.
bool replace_mapping(std::uintptr_t address) {
    for (GuardSlot& slot : guard_slots) {
        const std::uintptr_t begin = slot.begin.load(std::memory_order_acquire);
        const std::uintptr_t end = slot.end.load(std::memory_order_acquire);
        // A slot that is claimed anew meanwhile has an end that is not of this beginning.
        if (begin == 0 || address < begin || address >= end ||
            slot.begin.load(std::memory_order_acquire) != begin) {
            continue;
        }
        constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
        if (mmap(reinterpret_cast<void*>(begin), end - begin, PROT_READ | PROT_WRITE, kFlags, -1,
                 0) == MAP_FAILED) {
            return false;
        }
        slot.poisoned.store(true, std::memory_order_release);
        return true;
    }
    return false;
}

void on_bus_error(int /*signal*/, siginfo_t* info, void* /*context*/) {
    if (!replace_mapping(reinterpret_cast<std::uintptr_t>(info->si_addr))) {
        // Not ours: die of it as usual when the access is repeated.
        std::signal(SIGBUS, SIG_DFL);
    }
}

GuardSlot* claim_guard(void* base, std::size_t size) {
    const std::lock_guard lock(guard_mutex);
    static const bool installed = [] {
        struct sigaction action{};
        action.sa_sigaction = on_bus_error;
        action.sa_flags = SA_SIGINFO;
        return sigaction(SIGBUS, &action, nullptr) == 0;
    }();
    for (GuardSlot& slot : guard_slots) {
        if (installed && slot.begin.load(std::memory_order_relaxed) == 0) {
            slot.poisoned.store(false, std::memory_order_relaxed);
            const auto begin = reinterpret_cast<std::uintptr_t>(base);
            slot.end.store(begin + size, std::memory_order_relaxed);
            slot.begin.store(begin, std::memory_order_release);
            return &slot;
        }
    }
    return nullptr;
}

class SharedMapping final : public Mapping {
  public:
    SharedMapping(void* base,
                  std::size_t mapped,
                  std::size_t offset,
                  std::size_t size,
                  bool large,
                  GuardSlot& guard)
        : base_(base),
          mapped_(mapped),
          offset_(offset),
          size_(size),
          large_(large),
          guard_(guard) {}
    SharedMapping(const SharedMapping&) = delete;
    SharedMapping& operator=(const SharedMapping&) = delete;
    ~SharedMapping() override {
        // The guard goes first: once unmapped, the addresses may be another mapping's.
        {
            const std::lock_guard lock(guard_mutex);
            guard_.begin.store(0, std::memory_order_release);
            guard_.end.store(0, std::memory_order_relaxed);
        }
        unmap_foreign(base_, mapped_, large_);
    }
    [[nodiscard]] std::span<std::byte> bytes() const override {
        return std::span(static_cast<std::byte*>(base_), mapped_).subspan(offset_, size_);
    }
    [[nodiscard]] bool poisoned() const override {
        return guard_.poisoned.load(std::memory_order_acquire);
    }

  private:
    void* base_;
    std::size_t mapped_;
    std::size_t offset_;
    std::size_t size_;
    bool large_;
    GuardSlot& guard_;
};

/// Calls `visit` with the first byte of `run` in each page that it has a part of.
template <typename F>
void for_each_page(const iovec& run, F visit) {
    const auto begin = reinterpret_cast<std::uintptr_t>(run.iov_base);
    for (std::uintptr_t at = begin; at < begin + run.iov_len; at = (at & ~(kPage - 1)) + kPage) {
        visit(at);
    }
}

enum class Access : std::uint8_t { Read, Write };

/// A page that has gone raises SIGBUS, and the guard replaces it. A store changes nothing: what
/// lies there is still to be received.
void touch(const iovec& run, Access access) {
    for_each_page(run, [access](std::uintptr_t at) {
        auto* byte = reinterpret_cast<volatile unsigned char*>(at);
        const unsigned char value = *byte;
        if (access == Access::Write) {
            *byte = value;
        }
    });
}

/// Makes `call()` with the message once more, after a fault.
template <typename F>
ssize_t retry_after_fault(msghdr& message, Access access, F call) {
    const std::size_t count = message.msg_iovlen;
    for (std::size_t i = 0; i < count; ++i) {
        touch(message.msg_iov[i], access);
    }
    ssize_t result = call();
    if (result >= 0 || errno != EFAULT || count == 0) {
        return result;
    }
    // Taken away again since it was touched. Alone, the first segment shows whether it is the bad
    // one; then its mapping is given up, and cannot be taken away any more.
    message.msg_iovlen = 1;
    result = call();
    if (result < 0 && errno == EFAULT) {
        replace_mapping(reinterpret_cast<std::uintptr_t>(message.msg_iov[0].iov_base));
        result = call();
    }
    message.msg_iovlen = count;
    return result;
}

/// One segment and no handles: the kernel has no lists to copy and check, which are a third of the
/// time of a look that finds nothing.
bool is_plain(const msghdr& message) {
    return message.msg_iovlen == 1 && message.msg_control == nullptr;
}

}  // namespace

ssize_t send_message(int socket, msghdr& message, int flags) {
    const auto call = [&] {
        return is_plain(message)
                   ? send(socket, message.msg_iov->iov_base, message.msg_iov->iov_len, flags)
                   : sendmsg(socket, &message, flags);
    };
    const ssize_t sent = call();
    return sent >= 0 || errno != EFAULT ? sent : retry_after_fault(message, Access::Read, call);
}

ssize_t receive_message(int socket, msghdr& message, int flags) {
    const auto call = [&] {
        return is_plain(message)
                   ? recv(socket, message.msg_iov->iov_base, message.msg_iov->iov_len, flags)
                   : recvmsg(socket, &message, flags);
    };
    const ssize_t got = call();
    return got >= 0 || errno != EFAULT ? got : retry_after_fault(message, Access::Write, call);
}

core::Result<std::unique_ptr<Mapping>> map_shared_memory(Handle handle,
                                                         std::uint64_t offset,
                                                         std::uint64_t size) {
    using core::ErrorKind;
    if (auto memory = check_is_memory(handle); !memory) {
        return std::unexpected(memory.error());
    }
    struct stat info{};
    std::uint64_t past = 0;
    if (fstat(handle, &info) != 0) {
        return core::fail_errno("map shared memory", errno);
    }
    if (size == 0 || __builtin_add_overflow(offset, size, &past) ||
        past > static_cast<std::uint64_t>(info.st_size)) {
        return core::fail(ErrorKind::InvalidArgument, "map shared memory: the file has " +
                                                          std::to_string(info.st_size) +
                                                          " bytes, fewer than the region's end");
    }
    // In whole pages of the file, which may be huge ones: mapped, guarded and unmapped alike.
    const std::uint64_t page =
        std::max<std::uint64_t>(kPage, static_cast<std::uint64_t>(info.st_blksize));
    const std::uint64_t begin = offset / page * page;
    const std::uint64_t length = (past - begin + page - 1) / page * page;
    if (length < past - begin) {
        return core::fail(ErrorKind::InvalidArgument, "map shared memory: it ends past 2^64");
    }
    void* base = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, handle,
                      static_cast<off_t>(begin));
    if (base == MAP_FAILED) {
        return core::fail_errno("map shared memory", errno);
    }
    GuardSlot* guard = claim_guard(base, length);
    if (guard == nullptr) {
        munmap(base, length);
        return core::fail(
            ErrorKind::ResourceExhausted,
            "map shared memory: " + std::to_string(kMaxMappings) + " mappings in use");
    }
    return std::make_unique<SharedMapping>(base, length, offset - begin, size, is_large(handle),
                                           *guard);
}

core::Result<Handle> create_memfd(std::uint64_t size) {
    const int fd = memfd_create("remora", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return core::fail_errno("create shared memory", errno);
    }
    if (ftruncate(fd, static_cast<off_t>(size)) != 0) {
        const int error = errno;
        close(fd);
        return core::fail_errno("create shared memory", error);
    }
    // Whoever gets it cannot take the pages away from the others that have it.
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        const int error = errno;
        close(fd);
        return core::fail_errno("seal shared memory", error);
    }
    return fd;
}

}  // namespace remora::reactor
