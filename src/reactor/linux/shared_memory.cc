// SPDX-License-Identifier: Apache-2.0
#include "reactor/linux/shared_memory.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <mutex>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace remora::reactor {

namespace {

// A peer may truncate the file behind a mapping; touching the lost pages raises SIGBUS. The
// handler puts a page of zeros there and marks the mapping, so that only that peer's session
// suffers. The table is read in the handler, so it holds nothing but atomics.
struct GuardSlot {
    std::atomic<std::uintptr_t> begin{0};
    std::atomic<std::uintptr_t> end{0};
    std::atomic<bool> poisoned{false};
};

constexpr std::size_t kMaxMappings = 4096;
constexpr std::uintptr_t kPage = 4096;
std::array<GuardSlot, kMaxMappings> guard_slots;
std::mutex guard_mutex;  // taken to claim and free slots, at session set-up only

void on_bus_error(int /*signal*/, siginfo_t* info, void* /*context*/) {
    const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
    for (GuardSlot& slot : guard_slots) {
        const std::uintptr_t begin = slot.begin.load(std::memory_order_acquire);
        const std::uintptr_t end = slot.end.load(std::memory_order_acquire);
        if (begin == 0 || address < begin || address >= end) {
            continue;
        }
        auto* page = reinterpret_cast<void*>(address & ~(kPage - 1));
        constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
        if (mmap(page, kPage, PROT_READ | PROT_WRITE, kFlags, -1, 0) == MAP_FAILED) {
            // A huge page cannot be replaced in part: the whole mapping goes.
            if (mmap(reinterpret_cast<void*>(begin), end - begin, PROT_READ | PROT_WRITE, kFlags,
                     -1, 0) == MAP_FAILED) {
                break;
            }
        }
        slot.poisoned.store(true, std::memory_order_release);
        return;
    }
    // Not ours: die of it as usual when the access is repeated.
    std::signal(SIGBUS, SIG_DFL);
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
    SharedMapping(
        void* base, std::size_t mapped, std::size_t offset, std::size_t size, GuardSlot& guard)
        : base_(base), mapped_(mapped), offset_(offset), size_(size), guard_(guard) {}
    SharedMapping(const SharedMapping&) = delete;
    SharedMapping& operator=(const SharedMapping&) = delete;
    ~SharedMapping() override {
        // The guard goes first: once unmapped, the addresses may be another mapping's.
        {
            const std::lock_guard lock(guard_mutex);
            guard_.begin.store(0, std::memory_order_release);
            guard_.end.store(0, std::memory_order_relaxed);
        }
        munmap(base_, mapped_);
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
    GuardSlot& guard_;
};

}  // namespace

core::Result<std::unique_ptr<Mapping>> map_shared_memory(Handle handle,
                                                         std::uint64_t offset,
                                                         std::uint64_t size) {
    using core::ErrorKind;
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
        return core::fail(ErrorKind::ResourceExhausted, "map shared memory: 4096 mappings in use");
    }
    return std::make_unique<SharedMapping>(base, length, offset - begin, size, *guard);
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
    return fd;
}

}  // namespace remora::reactor
