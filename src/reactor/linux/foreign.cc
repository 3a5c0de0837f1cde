// SPDX-License-Identifier: Apache-2.0
#include "reactor/linux/foreign.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <fcntl.h>
#include <memory>
#include <mutex>
#include <pthread.h>
#include <sched.h>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/log.h"

namespace remora::reactor {

namespace {

/// Giving up small pages takes some 45 ms a GiB.
constexpr std::size_t kLarge = std::size_t{16} << 20U;

/// What the kernel knows of the file by itself: no file system is asked.
bool look(int fd, unsigned mask, struct statx& out) {
    return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, mask, &out) == 0;
}

/// The type of the file system that is mounted there; empty: not by us.
std::string type_of_mount(std::uint64_t id) {
    std::string type;
    FILE* table = std::fopen("/proc/self/mountinfo", "re");
    if (table == nullptr) {
        return type;
    }
    // "36 35 98:0 /root /point options shared:1 - ext4 /dev/x options"
    const std::string begin = std::to_string(id) + " ";
    std::array<char, 8192> line{};
    while (std::fgets(line.data(), line.size(), table) != nullptr) {
        const std::string_view text(line.data());
        const std::size_t dash = text.find(" - ");
        if (text.starts_with(begin) && dash != std::string_view::npos) {
            const std::string_view rest = text.substr(dash + 3);
            type = rest.substr(0, rest.find(' '));
            break;
        }
    }
    std::fclose(table);
    return type;
}

bool is_memory(int fd) {
    if (fcntl(fd, F_GET_SEALS) >= 0) {
        return true;  // only files of tmpfs, with memfds among them, and of hugetlbfs have seals
    }
    struct statx file{};
    if (!look(fd, STATX_TYPE | STATX_MNT_ID, file) || !S_ISREG(file.stx_mode)) {
        return false;
    }
    if (file.stx_dev_major != 0) {
        return true;  // of a block device
    }
    // Those that span devices have a number like one without any.
    constexpr std::array<std::string_view, 3> kOnDisks{"btrfs", "zfs", "bcachefs"};
    return (file.stx_mask & STATX_MNT_ID) != 0 &&
           std::ranges::find(kOnDisks, type_of_mount(file.stx_mnt_id)) != kOnDisks.end();
}

/// Whether it is a socket that ends at once.
bool is_prompt_socket(int fd) {
    struct statx file{};
    linger wait{};
    socklen_t size = sizeof wait;
    return look(fd, STATX_TYPE, file) && S_ISSOCK(file.stx_mode) &&
           getsockopt(fd, SOL_SOCKET, SO_LINGER, &wait, &size) == 0 && wait.l_onoff == 0;
}

/// Runs `body(argument)` on a thread that goes its own way. It inherits neither the signals, which
/// are for the process's other threads, nor the core of a reactor.
bool start_thread(void* (*body)(void*), void* argument) {
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return false;
    }
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    cpu_set_t cores;
    if (sched_getaffinity(getpid(), sizeof cores, &cores) == 0) {  // the main thread's
        pthread_attr_setaffinity_np(&attributes, sizeof cores, &cores);
    }
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread{};
    const bool started = pthread_create(&thread, &attributes, body, argument) == 0;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pthread_attr_destroy(&attributes);
    return started;
}

/// In steps: the process's address space is locked for each, and all its mappings wait for that.
void unmap(std::byte* base, std::size_t bytes) {
    constexpr std::size_t kStep = std::size_t{16} << 20U;
    constexpr std::size_t kHugePage = std::size_t{1} << 30U;  // the largest there is
    while (bytes > 0) {
        std::size_t step = std::min(bytes, kStep);
        if (munmap(base, step) != 0) {  // not within a huge page
            step = std::min(bytes, kHugePage);
            if (munmap(base, step) != 0) {
                step = bytes;
                munmap(base, step);
            }
        }
        base += step;
        bytes -= step;
    }
}

/// One thread for what takes long and ends. It and its queue are there until the process ends.
class Cleaner {
  public:
    struct Chore {
        int fd = -1;
        std::byte* base = nullptr;
        std::size_t bytes = 0;

        void run() const {
            if (fd >= 0) {
                close(fd);
            } else {
                unmap(base, bytes);
            }
        }
    };

    static Cleaner& instance() {
        static Cleaner& only = *new Cleaner;
        return only;
    }
    /// False: the system has no thread to give.
    bool add(const Chore& chore) {
        const std::lock_guard lock(mutex_);
        if (!started_ && !start_thread(clean, this)) {
            return false;
        }
        started_ = true;
        chores_.push_back(chore);
        there_.notify_one();
        return true;
    }

  private:
    static void* clean(void* self) {
        auto& cleaner = *static_cast<Cleaner*>(self);
        for (;;) {
            std::unique_lock lock(cleaner.mutex_);
            cleaner.there_.wait(lock, [&cleaner] { return !cleaner.chores_.empty(); });
            const Chore chore = cleaner.chores_.front();
            cleaner.chores_.pop_front();
            lock.unlock();
            chore.run();
        }
    }

    std::mutex mutex_;
    std::condition_variable there_;
    std::deque<Chore> chores_;
    bool started_ = false;
};

/// Threads for what may never end: what finds none free waits for one.
class Closers {
  public:
    static Closers& instance() {
        static Closers& only = *new Closers;
        return only;
    }
    void add(int fd) {
        const std::lock_guard lock(mutex_);
        waiting_.push_back(fd);
        ++under_way_;
        if (threads_ < kMostClosers && start_thread(close_all, this)) {
            ++threads_;
        } else if (waiting_.size() % kMostClosers == 1) {
            log::warn("descriptors that a peer sent wait to be closed",
                      log::kv("count", waiting_.size()));
        }
    }
    std::size_t under_way() {
        const std::lock_guard lock(mutex_);
        return under_way_;
    }

  private:
    static void* close_all(void* self) {
        auto& closers = *static_cast<Closers*>(self);
        std::unique_lock lock(closers.mutex_);
        while (!closers.waiting_.empty()) {
            const int fd = closers.waiting_.front();
            closers.waiting_.pop_front();
            lock.unlock();
            close(fd);
            lock.lock();
            --closers.under_way_;
        }
        --closers.threads_;
        return nullptr;
    }

    std::mutex mutex_;
    std::deque<int> waiting_;
    std::size_t threads_ = 0;
    std::size_t under_way_ = 0;  // waiting ones, and those in close()
};

}  // namespace

bool is_eventfd(int fd) {
    char name[32] = {};
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    const ssize_t size = readlink(link.c_str(), name, sizeof name - 1);
    return size < 0 ? errno == ENOENT && access("/proc/self/fd", F_OK) != 0
                    : std::string_view(name) == "anon_inode:[eventfd]";
}

core::Result<void> check_is_memory(int fd) {
    if (is_memory(fd)) {
        return {};
    }
    return core::fail(core::ErrorKind::InvalidArgument,
                      "shared memory is to be a memfd, or a file on tmpfs, hugetlbfs or a disk of "
                      "this machine, whose pages are there without asking anybody");
}

bool is_large(int fd) {
    struct statx file{};
    return look(fd, STATX_BLOCKS, file) && file.stx_blocks > kLarge / 512;
}

void close_foreign(int fd) {
    if (is_memory(fd)) {
        if (!is_large(fd) || !Cleaner::instance().add({.fd = fd})) {
            close(fd);
        }
    } else if (is_eventfd(fd) || is_prompt_socket(fd)) {
        close(fd);
    } else {
        Closers::instance().add(fd);
    }
}

void unmap_foreign(void* base, std::size_t bytes, bool large) {
    auto* begin = static_cast<std::byte*>(base);
    if ((bytes < kLarge && !large) || !Cleaner::instance().add({.base = begin, .bytes = bytes})) {
        unmap(begin, bytes);
    }
}

std::size_t closes_under_way() {
    return Closers::instance().under_way();
}

}  // namespace remora::reactor
