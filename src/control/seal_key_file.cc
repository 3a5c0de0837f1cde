// SPDX-License-Identifier: Apache-2.0
#include "control/seal_key_file.h"

#include <cerrno>
#include <cstdint>
#include <fcntl.h>
#include <filesystem>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::fail_errno;
using core::Result;
using Origin = SealKeyPlace::Origin;

namespace {

constexpr const char* kCredential = "remora-seal-key";
constexpr const char* kOwn = "seal-key";

/// A file descriptor that closes itself.
class File {
  public:
    explicit File(int descriptor) : descriptor_(descriptor) {}
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    ~File() {
        if (descriptor_ >= 0) {
            ::close(descriptor_);
        }
    }
    [[nodiscard]] int get() const { return descriptor_; }
    [[nodiscard]] bool open() const { return descriptor_ >= 0; }

  private:
    int descriptor_;
};

/// Who else may have the key. systemd guards its folder of credentials, and shows the mask of an
/// access control list as the group's rights.
mode_t forbidden_mode(Origin origin) {
    return origin == Origin::Credential ? 0007 : 0077;
}

Result<void> check_file(int descriptor, const SealKeyPlace& place) {
    struct stat info{};
    if (::fstat(descriptor, &info) != 0) {
        return fail_errno("the seal key " + place.path, errno);
    }
    if (!S_ISREG(info.st_mode)) {
        return fail(ErrorKind::FailedPrecondition,
                    "the seal key " + place.path + " is no ordinary file");
    }
    if ((info.st_mode & forbidden_mode(place.origin)) != 0) {
        return fail(ErrorKind::FailedPrecondition,
                    "the seal key " + place.path +
                        " is open to others than its owner: chmod 600 it, and take a new key if "
                        "somebody may have read this one");
    }
    if (info.st_uid != 0 && info.st_uid != ::geteuid()) {
        return fail(ErrorKind::FailedPrecondition, "the seal key " + place.path +
                                                       " belongs to another user: it has to be "
                                                       "remorad's own, or root's");
    }
    if (info.st_size != kSealKeyBytes) {
        return fail(ErrorKind::FailedPrecondition,
                    "the seal key " + place.path + " has " + std::to_string(info.st_size) +
                        " bytes, not 32: make one by `head -c 32 /dev/urandom`");
    }
    return {};
}

Result<void> write_key(const std::string& path, const Secret& key) {
    const File file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file.open()) {
        return fail_errno("making the seal key " + path, errno);
    }
    const ssize_t written = ::write(file.get(), key.bytes().data(), key.bytes().size());
    if (written != static_cast<ssize_t>(kSealKeyBytes)) {
        // So few bytes are cut only by a full disk.
        return fail_errno("writing the seal key " + path, written < 0 ? errno : ENOSPC);
    }
    if (::fsync(file.get()) != 0) {
        return fail_errno("making the seal key " + path + " durable", errno);
    }
    return {};
}

Result<void> sync_directory(const std::string& path) {
    const std::string folder = std::filesystem::path(path).parent_path().string();
    const File directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory.open() || ::fsync(directory.get()) != 0) {
        return fail_errno("making the seal key " + path + " durable", errno);
    }
    return {};
}

}  // namespace

SealKeyPlace find_seal_key(const std::string& option,
                           const std::string& credentials,
                           const std::string& state_directory) {
    if (!option.empty()) {
        return {Origin::Option, option};
    }
    std::error_code ignored;
    const std::string credential = credentials + "/" + kCredential;
    if (!credentials.empty() && std::filesystem::exists(credential, ignored)) {
        return {Origin::Credential, credential};
    }
    return {Origin::Own, state_directory + "/" + kOwn};
}

Result<void> SealKeyFile::check() const {
    if (place_.origin == Origin::Own) {
        return {};  // what is wrong with it is told where it is needed
    }
    if (const auto key = read(); !key) {
        return std::unexpected(key.error());
    }
    return {};
}

Result<Secret> SealKeyFile::read() const {
    // Not to wait for the other end of a pipe.
    const File file(::open(place_.path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!file.open()) {
        return fail_errno("the seal key " + place_.path, errno);
    }
    if (auto checked = check_file(file.get(), place_); !checked) {
        return std::unexpected(checked.error());
    }
    Secret key(kSealKeyBytes);
    const ssize_t got = ::read(file.get(), key.bytes().data(), key.bytes().size());
    if (got != static_cast<ssize_t>(kSealKeyBytes)) {
        return fail_errno("reading the seal key " + place_.path, got < 0 ? errno : EIO);
    }
    return key;
}

Result<void> SealKeyFile::make() {
    Secret key(kSealKeyBytes);
    if (auto filled = fill_random(key.bytes()); !filled) {
        return filled;
    }
    // The state folder's lock is ours: what lies there is of a life that was killed.
    const std::string aside = place_.path + ".new";
    (void)::unlink(aside.c_str());
    if (auto written = write_key(aside, key); !written) {
        (void)::unlink(aside.c_str());
        return written;
    }
    if (::rename(aside.c_str(), place_.path.c_str()) != 0) {
        const int reason = errno;
        (void)::unlink(aside.c_str());
        return fail_errno("making the seal key " + place_.path, reason);
    }
    return sync_directory(place_.path);
}

Result<Secret> SealKeyFile::for_sealing() {
    if (place_.origin == Origin::Own && ::access(place_.path.c_str(), F_OK) != 0 &&
        errno == ENOENT) {
        if (auto made = make(); !made) {
            return std::unexpected(made.error());
        }
    }
    return read();
}

Result<Secret> SealKeyFile::for_opening() {
    return read();
}

Result<void> SealKeyFile::fill_random(std::span<std::byte> out) {
    if (RAND_bytes(reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(out.size())) !=
        1) {
        return fail(ErrorKind::Internal, "the machine gives no random numbers");
    }
    return {};
}

}  // namespace remora::control
