// SPDX-License-Identifier: Apache-2.0
#include "control/audit_file.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::fail_errno;
using core::Result;

namespace {

/// The newest numbers stand in the last lines. This is room for more of them than there can be
/// calls that were begun before the newest and end after it.
constexpr std::uint64_t kTail = std::uint64_t{4} << 20U;
constexpr std::string_view kNumberKey = R"({"seq":)";

std::uint64_t largest_number(std::string_view lines) {
    std::uint64_t largest = 0;
    while (!lines.empty()) {
        if (lines.starts_with(kNumberKey)) {
            std::uint64_t number = 0;
            (void)std::from_chars(lines.data() + kNumberKey.size(), lines.data() + lines.size(),
                                  number);
            largest = std::max(largest, number);
        }
        const std::size_t end = lines.find('\n');
        lines.remove_prefix(end == std::string_view::npos ? lines.size() : end + 1);
    }
    return largest;
}

}  // namespace

class AuditFile::Descriptor {
  public:
    explicit Descriptor(int number) : number_(number) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() { (void)::close(number_); }

    [[nodiscard]] int number() const { return number_; }
    /// The last `most` bytes, or nothing.
    [[nodiscard]] std::string tail(std::uint64_t most) const {
        struct stat about{};
        if (::fstat(number_, &about) != 0) {
            return "";
        }
        const auto size = static_cast<std::uint64_t>(about.st_size);
        const std::uint64_t from = size - std::min(size, most);
        std::string out(static_cast<std::size_t>(size - from), '\0');
        std::size_t got = 0;
        while (got < out.size()) {
            const ssize_t more = ::pread(number_, out.data() + got, out.size() - got,
                                         static_cast<off_t>(from + got));
            if (more <= 0) {
                break;
            }
            got += static_cast<std::size_t>(more);
        }
        out.resize(got);
        return out;
    }

  private:
    int number_;
};

Result<std::unique_ptr<AuditFile>> AuditFile::open(const std::string& path,
                                                   const AuditFileLimits& limits) {
    std::unique_ptr<AuditFile> file(new AuditFile(path, limits));
    if (auto opened = file->open_file(); !opened) {
        return std::unexpected(opened.error());
    }
    file->find_last_number(*file->file_);
    const int older = ::open((path + ".1").c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (older >= 0) {
        file->find_last_number(Descriptor(older));
    }
    return file;
}

void AuditFile::find_last_number(const Descriptor& file) {
    last_number_ = std::max(last_number_, largest_number(file.tail(kTail)));
}

Result<void> AuditFile::open_file() {
    file_ = nullptr;
    const int number = ::open(path_.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (number < 0) {
        return fail_errno(path_, errno);
    }
    auto file = std::make_shared<Descriptor>(number);
    struct stat about{};
    if (::fstat(number, &about) != 0) {
        return fail_errno(path_, errno);
    }
    if (!S_ISREG(about.st_mode)) {
        return fail(ErrorKind::FailedPrecondition, path_ + " is no plain file");
    }
    if (::flock(number, LOCK_EX | LOCK_NB) != 0) {
        return fail(ErrorKind::FailedPrecondition, path_ + " is used by another process");
    }
    const std::string last = file->tail(1);
    torn_ = !last.empty() && last != "\n";
    file_ = std::move(file);
    return sync_folder();
}

/// A file that was made or renamed is found after a loss of power only then.
Result<void> AuditFile::sync_folder() const {
    std::string folder = std::filesystem::path(path_).parent_path().string();
    if (folder.empty()) {
        folder = ".";
    }
    const Descriptor descriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (descriptor.number() < 0 || ::fsync(descriptor.number()) != 0) {
        return fail_errno(folder, errno);
    }
    return {};
}

Result<void> AuditFile::append(std::string_view line, bool durable) {
    std::shared_ptr<Descriptor> file;
    {
        const std::scoped_lock lock(mutex_);
        if (auto room = make_room(line.size()); !room) {
            return room;
        }
        if (auto wrote = write_line(line); !wrote) {
            return wrote;
        }
        file = file_;
    }
    // Outside the lock: several threads wait for the disk together.
    if (durable && ::fdatasync(file->number()) != 0) {
        return fail_errno(path_, errno);
    }
    return {};
}

Result<void> AuditFile::make_room(std::size_t bytes) {
    struct stat about{};
    // Somebody may have removed the file, or the folder may have been full when it was made anew.
    if (file_ == nullptr || ::fstat(file_->number(), &about) != 0 || about.st_nlink == 0) {
        return open_file();
    }
    if (about.st_size == 0 ||
        static_cast<std::uint64_t>(about.st_size) + bytes <= limits_.file_bytes) {
        return {};
    }
    const auto name = [this](unsigned age) {
        return age == 0 ? path_ : path_ + "." + std::to_string(age);
    };
    for (unsigned age = limits_.old_files; age > 0; --age) {
        if (std::rename(name(age - 1).c_str(), name(age).c_str()) != 0 && errno != ENOENT) {
            return fail_errno(name(age), errno);
        }
    }
    return open_file();
}

Result<void> AuditFile::write_line(std::string_view line) {
    std::string text = torn_ ? "\n" : "";
    text += line;
    struct stat before{};
    if (::fstat(file_->number(), &before) != 0) {
        return fail_errno(path_, errno);
    }
    std::size_t written = 0;
    while (written < text.size()) {
        const ssize_t more = ::write(file_->number(), text.data() + written, text.size() - written);
        if (more < 0 && errno == EINTR) {
            continue;
        }
        if (more <= 0) {
            const int trouble = more == 0 ? ENOSPC : errno;
            if (written > 0) {
                torn_ = ::ftruncate(file_->number(), before.st_size) != 0 || torn_;
            }
            return fail_errno(path_, trouble);
        }
        written += static_cast<std::size_t>(more);
    }
    torn_ = false;
    return {};
}

}  // namespace remora::control
