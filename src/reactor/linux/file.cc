// SPDX-License-Identifier: Apache-2.0
#include "reactor/linux/file.h"

#include <cerrno>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <vector>

#include "core/check.h"

namespace remora::reactor {

namespace {

using core::Segment;

class LinuxFile final : public File {
  public:
    LinuxFile(Ring& ring, int fd, std::uint64_t size, std::size_t memory, std::size_t offset)
        : ring_(ring), fd_(fd), size_(size), memory_alignment_(memory), offset_alignment_(offset) {}
    LinuxFile(const LinuxFile&) = delete;
    LinuxFile& operator=(const LinuxFile&) = delete;
    ~LinuxFile() override {
        CHECK(in_flight_ == 0);
        close(fd_);
        while (Slot* slot = free_.pop_front()) {
            delete slot;
        }
    }

    void submit(FileOp& op) override {
        Slot* slot = free_.pop_front();
        if (slot == nullptr) {
            slot = new Slot(*this);  // grows to the deepest queue once, then is reused
        }
        ++in_flight_;
        op.done = 0;
        slot->op = &op;
        start(*slot);
    }

    [[nodiscard]] std::uint64_t size() const override { return size_; }
    core::Result<void> grow(std::uint64_t size) override {
        if (size < size_ || ftruncate(fd_, static_cast<off_t>(size)) != 0 || fsync(fd_) != 0) {
            return core::fail_errno("make the file " + std::to_string(size) + " bytes long",
                                    size < size_ ? EINVAL : errno);
        }
        size_ = size;
        return {};
    }
    [[nodiscard]] std::size_t memory_alignment() const override { return memory_alignment_; }
    [[nodiscard]] std::size_t offset_alignment() const override { return offset_alignment_; }

  private:
    struct Slot final : Completion, core::QueueHook<Slot> {
        explicit Slot(LinuxFile& owner) : file(owner) {}
        void on_completion(int result, bool /*more*/) override { file.finish(*this, result); }
        LinuxFile& file;
        FileOp* op = nullptr;
        Segment rest{};     // what is left of a short transfer, run by run
        int zero_mode = 0;  // how a ZeroRange was tried
    };

    void start(Slot& slot) {
        FileOp& op = *slot.op;
        io_uring_sqe* entry = ring_.entry();
        const auto* vectors = reinterpret_cast<const iovec*>(op.segments.data());
        const auto count = static_cast<unsigned>(op.segments.size());
        switch (op.kind) {
            case FileOp::Kind::Read:
                io_uring_prep_readv(entry, fd_, vectors, count, op.offset);
                break;
            case FileOp::Kind::Write:
                io_uring_prep_writev(entry, fd_, vectors, count, op.offset);
                break;
            case FileOp::Kind::Flush:
                io_uring_prep_fsync(entry, fd_, IORING_FSYNC_DATASYNC);
                break;
            case FileOp::Kind::PunchHole:
                prepare_fallocate(entry, FALLOC_FL_PUNCH_HOLE, op);
                break;
            case FileOp::Kind::ZeroRange:
                slot.zero_mode = zero_range_mode_;
                prepare_fallocate(entry, slot.zero_mode, op);
                break;
        }
        io_uring_sqe_set_data(entry, static_cast<Completion*>(&slot));
    }

    void prepare_fallocate(io_uring_sqe* entry, int mode, const FileOp& op) const {
        io_uring_prep_fallocate(entry, fd_, mode | FALLOC_FL_KEEP_SIZE,
                                static_cast<off_t>(op.offset), static_cast<off_t>(op.length));
    }

    /// Goes on after a short transfer with the next contiguous run.
    void resume(Slot& slot) {
        FileOp& op = *slot.op;
        core::SegmentCursor cursor(op.segments);
        cursor.advance(op.done);
        slot.rest = cursor.peek(op.length - op.done);
        io_uring_sqe* entry = ring_.entry();
        const auto bytes = static_cast<unsigned>(slot.rest.size);
        if (op.kind == FileOp::Kind::Read) {
            io_uring_prep_read(entry, fd_, slot.rest.data, bytes, op.offset + op.done);
        } else {
            io_uring_prep_write(entry, fd_, slot.rest.data, bytes, op.offset + op.done);
        }
        io_uring_sqe_set_data(entry, static_cast<Completion*>(&slot));
    }

    void finish(Slot& slot, int result) {
        FileOp& op = *slot.op;
        const bool transfer = op.kind == FileOp::Kind::Read || op.kind == FileOp::Kind::Write;
        if (result == -EINTR || result == -EAGAIN) {
            transfer&& op.done > 0 ? resume(slot) : start(slot);
            return;
        }
        if (op.kind == FileOp::Kind::ZeroRange && result == -EOPNOTSUPP &&
            slot.zero_mode == FALLOC_FL_ZERO_RANGE) {
            zero_range_mode_ = FALLOC_FL_PUNCH_HOLE;  // also reads as zeros
            start(slot);
            return;
        }
        if (transfer && result >= 0) {
            op.done += static_cast<std::uint64_t>(result);
            if (result > 0 && op.done < op.length) {
                resume(slot);
                return;
            }
            // A read that ends early met the end of a file that somebody cut.
            result = op.done == op.length ? 0 : -EIO;
        }
        op.result = result < 0 ? result : 0;
        slot.op = nullptr;
        free_.push_back(slot);
        --in_flight_;
        op.handler->on_file_done(op);
    }

    Ring& ring_;
    int fd_;
    std::uint64_t size_;
    std::size_t memory_alignment_;
    std::size_t offset_alignment_;
    int zero_range_mode_ = FALLOC_FL_ZERO_RANGE;
    std::size_t in_flight_ = 0;
    core::Queue<Slot> free_;
};

/// Makes the file, sparse, of its whole size or not at all; without O_DIRECT, which some file
/// systems refuse only after they have made the file.
int create_sparse(const std::string& path, std::uint64_t size) {
    constexpr mode_t kOwnerOnly = 0600;
    const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC | O_CREAT | O_EXCL, kOwnerOnly);
    if (fd < 0) {
        return -1;
    }
    if (ftruncate(fd, static_cast<off_t>(size)) != 0 || fsync(fd) != 0) {
        const int error = errno;
        close(fd);
        unlink(path.c_str());
        errno = error;
        return -1;
    }
    close(fd);
    return 0;
}

int open_or_create(const std::string& path, const FileOptions& options, int flags) {
    const int fd = open(path.c_str(), flags);
    if (fd >= 0 || errno != ENOENT || !options.create) {
        return fd;
    }
    return create_sparse(path, options.size) == 0 ? open(path.c_str(), flags) : -1;
}

/// What direct I/O on `fd` needs (statx, Linux 6.1); a page where the kernel does not say.
void direct_alignment(int fd, std::size_t& memory, std::size_t& offset) {
    constexpr std::size_t kPage = 4096;
    struct statx info{};
#ifndef STATX_DIOALIGN
    constexpr unsigned STATX_DIOALIGN = 0x2000;
#endif
    memory = kPage;
    offset = kPage;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) != 0 ||
        (info.stx_mask & STATX_DIOALIGN) == 0) {
        return;
    }
    // glibc 2.36 has no names for these two; they are the first words of the reserved tail.
    const auto* words = reinterpret_cast<const unsigned char*>(&info) + 0x98;
    std::uint32_t values[2];
    __builtin_memcpy(values, words, sizeof values);
    if (values[0] != 0 && values[1] != 0) {
        memory = values[0];
        offset = values[1];
    }
}

}  // namespace

core::Result<std::unique_ptr<File>> open_linux_file(Ring& ring,
                                                    const std::string& path,
                                                    const FileOptions& options) {
    const std::string context = "open '" + path + "'";
    bool direct = options.direct;
    int fd = open_or_create(path, options, O_RDWR | O_CLOEXEC | (direct ? O_DIRECT : 0));
    if (fd < 0 && direct && errno == EINVAL) {
        direct = false;  // the file system has no direct I/O (tmpfs)
        fd = open_or_create(path, options, O_RDWR | O_CLOEXEC);
    }
    if (fd < 0) {
        return core::fail_errno(context, errno);
    }
    struct stat info{};
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return core::fail(core::ErrorKind::InvalidArgument, context + ": not a regular file");
    }
    if (options.exclusive && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return core::fail(core::ErrorKind::FailedPrecondition,
                          context + ": another process uses this file");
    }
    std::size_t memory = 1;
    std::size_t offset = 1;
    if (direct) {
        direct_alignment(fd, memory, offset);
    }
    return std::make_unique<LinuxFile>(ring, fd, static_cast<std::uint64_t>(info.st_size), memory,
                                       offset);
}

}  // namespace remora::reactor
